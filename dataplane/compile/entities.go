package compile

import (
	"bytes"
	"iter"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// messageOf makes an empty message for a kind, nil for kinds that no table is made of.
func messageOf(kind string) proto.Message {
	switch kind {
	case "services":
		return &configv1.Service{}
	case "routes":
		return &configv1.Route{}
	case "consumers":
		return &configv1.Consumer{}
	case "plugins":
		return &configv1.Plugin{}
	case "upstreams":
		return &configv1.Upstream{}
	case "targets":
		return &configv1.Target{}
	case "certificates":
		return &configv1.Certificate{}
	case "snis":
		return &configv1.Sni{}
	case "ca_certificates":
		return &configv1.CaCertificate{}
	case "basicauth_credentials":
		return &configv1.BasicauthCredential{}
	case "keyauth_credentials":
		return &configv1.KeyauthCredential{}
	case "jwt_secrets":
		return &configv1.JwtSecret{}
	case "acls":
		return &configv1.Acl{}
	case "mtls_auth_credentials":
		return &configv1.MtlsAuthCredential{}
	case "consumer_groups":
		return &configv1.ConsumerGroup{}
	case "consumer_group_consumers":
		return &configv1.ConsumerGroupMember{}
	case "vaults":
		return &configv1.Vault{}
	case "key_value_maps":
		return &configv1.KeyValueMap{}
	case "key_value_entries":
		return &configv1.KeyValueEntry{}
	case "cache_purges":
		return &configv1.CachePurge{}
	case "fingerprint_keys":
		return &configv1.FingerprintKey{}
	}
	return nil
}

// entity is one decoded entity and, in parsed, what was made of it alone. Entities are compared by address: the
// same one stands for the same bytes.
type entity struct {
	id        string
	body      []byte
	workspace string // see workspaceOf
	locked    bool
	withheld  bool          // why it is locked
	message   proto.Message // nil when it is locked or cannot be decoded
	parsed    any
}

// shelf holds the entities of one kind.
type shelf struct {
	byID    map[string]*entity
	sorted  []*entity            // by id; made when asked for
	apart   map[string][]*entity // sorted, by workspace; made when asked for
	lost    []*entity            // those without a message
	changed bool                 // against the compilation before
}

// entities are those of one compilation.
type entities struct{ shelves map[string]*shelf }

func newEntities() *entities { return &entities{map[string]*shelf{}} }

// load decodes what it does not know from the compilation before.
func (r *run) load(all Entities) *entities {
	before, now := r.Compiler.entities, newEntities()
	for kind, old := range before.shelves {
		now.shelves[kind] = &shelf{byID: make(map[string]*entity, len(old.byID)), changed: false}
	}
	all(func(e Entity) bool {
		own := now.shelves[e.Kind]
		if own == nil {
			if messageOf(e.Kind) == nil {
				return true
			}
			own = &shelf{byID: map[string]*entity{}, changed: true}
			now.shelves[e.Kind] = own
		}
		if old := before.find(e.Kind, e.ID); old != nil && old.locked == e.Locked && old.withheld == e.Withheld && same(old.body, e.Body) {
			own.byID[e.ID] = old
			return true
		}
		own.changed = true
		fresh := &entity{id: strings.Clone(e.ID), body: e.Body, workspace: workspaceOf(e.Body), locked: e.Locked, withheld: e.Withheld, message: messageOf(e.Kind)}
		if e.Locked || proto.Unmarshal(e.Body, fresh.message) != nil {
			fresh.message = nil
		}
		own.byID[fresh.id] = fresh
		return true
	})
	for kind, own := range now.shelves {
		if old := before.shelves[kind]; old != nil {
			own.changed = own.changed || len(old.byID) != len(own.byID)
			if !own.changed {
				own.sorted, own.apart = old.sorted, old.apart
			}
		}
		for _, e := range own.byID {
			if e.message == nil {
				own.lost = append(own.lost, e)
			}
		}
	}
	for kind := range now.shelves {
		for _, e := range now.lost(kind) {
			if !e.locked {
				r.report(kind, e.id, now.called(e), e.undecodable())
			}
		}
	}
	return now
}

// reportLocked names what is locked, after all that somebody can mend at the gate or in the configuration.
func (r *run) reportLocked() {
	for kind, own := range r.shelves {
		for _, e := range own.lost {
			if e.locked && !e.withheld {
				r.report(kind, e.id, r.called(e), locked)
			}
		}
	}
}

// why is the reason that an entity has no message.
func (e *entity) why() string {
	switch {
	case e.withheld:
		return withheld
	case e.locked:
		return locked
	}
	return undecodable
}

// same compares bodies. bytes.Equal looks first at where they lie, and a set shares what did not change.
func same(a, b []byte) bool { return bytes.Equal(a, b) }

func (e *entities) find(kind, id string) *entity {
	if own := e.shelves[kind]; own != nil {
		return own.byID[id]
	}
	return nil
}

func (e *entities) changed(kind string) bool {
	own := e.shelves[kind]
	return own != nil && own.changed
}

// inOrder returns the entities that could be decoded, by id.
func (s *shelf) inOrder() []*entity {
	if s.sorted == nil {
		s.sorted = make([]*entity, 0, len(s.byID))
		for _, one := range s.byID {
			if one.message != nil {
				s.sorted = append(s.sorted, one)
			}
		}
		slices.SortFunc(s.sorted, func(a, b *entity) int { return strings.Compare(a.id, b.id) })
	}
	return s.sorted
}

// messages implements plugin.Entities.
func (r *run) messages(kind string) iter.Seq2[string, proto.Message] {
	return func(yield func(string, proto.Message) bool) {
		for _, one := range r.each(kind) {
			if !yield(one.id, one.message) {
				return
			}
		}
	}
}
