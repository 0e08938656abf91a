package entities

import (
	"encoding/json"
	"errors"
	"net/http"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/shared/schema"
)

// tagged is one tag of one entity.
type tagged struct {
	Entity string `json:"entity_name"`
	ID     string `json:"entity_id"`
	Tag    string `json:"tag"`
}

// cursor says where a page of tags ended: after how many tags of which entity.
type cursor struct {
	Table, After string
	Skip         int
}

func (a *API) tags(r *rest.Request) (rest.Answer, error) { return a.listTags(r, nil) }

func (a *API) tag(r *rest.Request) (rest.Answer, error) {
	tags, anyTag, err := tagsOf(r.Param(0))
	if err != nil {
		return rest.Answer{}, err
	}
	if len(tags) > 1 || anyTag {
		return rest.Answer{}, tagsRefused("invalid filter syntax")
	}
	return a.listTags(r, tags)
}

// listTags walks the tables in the order of the schema until the page is full.
func (a *API) listTags(r *rest.Request, only []string) (rest.Answer, error) {
	size, err := rest.SizeOf(r.URL.Query())
	if err != nil {
		return rest.Answer{}, err
	}
	from, err := cursorOf(r)
	if err != nil {
		return rest.Answer{}, err
	}
	workspace, err := r.Resolve()
	if err != nil {
		return rest.Answer{}, err
	}
	full := tagPage{size: size}
	var bad []catalog.Undecryptable
	begun := from.Table == ""
	for _, e := range a.schema.Entities() {
		begun = begun || e.Table == from.Table
		if e.Internal || e.Field("tags") == nil || !begun {
			continue
		}
		at := cursor{Table: e.Table}
		if e.Table == from.Table {
			at = from
		}
		query := catalog.Query{Table: e.Table, Workspace: workspace, Size: size, Tags: only, MayLag: true}
		for more := true; more; {
			query.After = at.After
			found, err := a.catalog.List(r.Context(), query)
			if denied, ok := errors.AsType[*rest.Refusal](err); ok && denied.Status == http.StatusForbidden && !e.Workspaced {
				break // environments are not for those who may read one workspace alone: their tags are left out
			}
			if err != nil {
				return rest.Answer{}, err
			}
			bad = append(bad, found.Undecryptable...)
			for _, m := range found.Entities {
				if !full.add(e, m, &at, only) {
					return page(r, full.items, bad, rest.EncodeOffset(at), "size"), nil
				}
			}
			at.After, more = found.Last, found.More
		}
	}
	return page(r, full.items, bad, ""), nil
}

// tagPage collects tags until it is full.
type tagPage struct {
	size  int
	items [][]byte
}

// add takes the tags of an entity and moves the cursor behind it; false leaves the cursor at the tag for which
// there was no room.
func (p *tagPage) add(e *schema.Entity, m proto.Message, at *cursor, only []string) bool {
	for i, tag := range e.Tags(m) {
		if i < at.Skip || (only != nil && tag != only[0]) {
			continue
		}
		if len(p.items) == p.size {
			at.Skip = i
			return false
		}
		item, _ := rest.Marshal(tagged{e.Table, e.ID(m), tag}) // of strings: cannot fail
		p.items = append(p.items, item)
	}
	at.After, at.Skip = e.ID(m), 0
	return true
}

func cursorOf(r *rest.Request) (at cursor, err error) {
	given := r.URL.Query().Get("offset")
	if given == "" {
		return at, nil
	}
	text, err := rest.DecodeOffset(given)
	if err != nil || json.Unmarshal(text, &at) != nil {
		return at, rest.Coded(7, "invalid offset", "'%s' is not a valid offset: bad base64 encoding", given)
	}
	return at, nil
}

// workspaceMeta counts what a workspace holds.
func (a *API) workspaceMeta(r *rest.Request) (rest.Answer, error) {
	e, _ := a.schema.Entity("workspaces")
	workspace, err := a.catalog.Get(r.Context(), catalog.Address{Table: "workspaces", Key: r.Param(0)})
	if err != nil {
		return rest.Answer{}, plainly(err)
	}
	counts := map[string]int{}
	for _, table := range a.schema.Entities() {
		if table.Internal || !table.Workspaced {
			continue
		}
		query := catalog.Query{Table: table.Table, Workspace: e.ID(workspace), Size: rest.MaxSize, MayLag: true}
		for more := true; more; {
			found, err := a.catalog.List(r.Context(), query)
			if err != nil {
				return rest.Answer{}, err
			}
			counts[table.Table] += len(found.Entities) + len(found.Undecryptable)
			query.After, more = found.Last, found.More
		}
	}
	return rest.JSON(http.StatusOK, map[string]any{"counts": counts}), nil
}
