package compile

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/keepgate/keepgate/dataplane/plugin"
)

// Workspaces are kept apart: a plugin without a scope is for the routes of its own workspace, a service's host names an upstream of
// its own, and consumers and their credentials are known there alone. Server names, and so certificates, are the whole gate's, and so
// is the order of routes: which workspace may have which host is not decided here.
const (
	// home is the workspace of whatever says nothing else: requests without a route are its.
	home = "default"
	// everywhere is the place of what belongs to no workspace, and of what cannot be told to belong to one: it closes them all.
	everywhere = ""

	placedField = 2047 // keepgate.sync.v1.Placed
)

// global says that entities of a kind belong to no workspace.
func global(kind string) bool { return kind == "ca_certificates" || kind == "fingerprint_keys" }

// workspaceOf reads where an entity belongs. Nobody knows it of bytes that do not divide into fields to their end.
func workspaceOf(body []byte) string {
	place := home
	if len(body) == 0 {
		return everywhere
	}
	for len(body) > 0 {
		number, kind, n := protowire.ConsumeField(body)
		if n < 0 {
			return everywhere
		}
		if number == placedField && kind == protowire.BytesType {
			_, _, tag := protowire.ConsumeTag(body)
			value, _ := protowire.ConsumeBytes(body[tag:])
			place = string(value)
		}
		body = body[n:]
	}
	return place
}

// withoutPlace is a body without what says where it belongs, as far as that is a field of it.
func withoutPlace(body []byte) []byte {
	var left []byte
	for len(body) > 0 {
		number, _, n := protowire.ConsumeField(body)
		if n < 0 {
			return append(left, body...)
		}
		if number != placedField {
			left = append(left, body[:n]...)
		}
		body = body[n:]
	}
	return left
}

// workspaces lists those that have something, by id; home is always there.
func (e *entities) workspaces() []string {
	found := map[string]bool{home: true}
	for kind, own := range e.shelves {
		if global(kind) {
			continue
		}
		for workspace := range own.byWorkspace() {
			found[workspace] = true
		}
		for _, one := range own.lost {
			found[one.workspace] = true
		}
	}
	delete(found, everywhere)
	return slices.Sorted(maps.Keys(found))
}

// byWorkspace are the entities that could be decoded, by id in each workspace.
func (s *shelf) byWorkspace() map[string][]*entity {
	if s.apart == nil {
		s.apart = map[string][]*entity{}
		for _, one := range s.inOrder() {
			s.apart[one.workspace] = append(s.apart[one.workspace], one)
		}
	}
	return s.apart
}

// here says whether an entity of a kind concerns the run's workspace.
func (r *run) here(kind string, e *entity) bool {
	return r.workspace == everywhere || global(kind) || e.workspace == r.workspace || e.workspace == everywhere
}

// each returns the entities of a kind that could be decoded and concern the run's workspace, by id.
func (r *run) each(kind string) []*entity {
	own := r.shelves[kind]
	switch {
	case own == nil:
		return nil
	case r.workspace == everywhere || global(kind):
		return own.inOrder()
	}
	return own.byWorkspace()[r.workspace]
}

// find returns an entity that concerns the run's workspace.
func (r *run) find(kind, id string) *entity {
	if e := r.entities.find(kind, id); e != nil && r.here(kind, e) {
		return e
	}
	return nil
}

// lost returns the entities of a kind that are locked or cannot be decoded, and may concern the run's workspace.
func (r *run) lost(kind string) []*entity {
	var mine []*entity
	for _, e := range r.entities.lost(kind) {
		if r.here(kind, e) {
			mine = append(mine, e)
		}
	}
	return mine
}

// share is what the plugins of one workspace share, from one compilation to the next.
type share struct {
	consumers *plugin.Consumers
	stores    []any // by plugin number
}
