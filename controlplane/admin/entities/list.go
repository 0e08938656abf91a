package entities

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/schema"
)

func (a *API) list(r *rest.Request, p place) (rest.Answer, error) {
	query, f, err := a.query(r, p)
	if err != nil {
		return rest.Answer{}, err
	}
	query.MayLag = true
	found, err := a.catalog.List(r.Context(), query)
	if err != nil {
		return rest.Answer{}, plainly(err)
	}
	if err := whole(found, f.refuse); err != nil {
		return rest.Answer{}, err
	}
	offset := ""
	if found.More {
		offset = rest.EncodeOffset([]string{found.Last})
	}
	if p.parent != nil {
		return page(r, a.encode(p.e, found.Entities), found.Undecryptable, offset, "undecryptable"), nil
	}
	return page(r, a.encode(p.e, found.Entities), found.Undecryptable, offset, "size", "tags", "custom_id", "undecryptable"), nil
}

func (a *API) query(r *rest.Request, p place) (query catalog.Query, f filter, err error) {
	if f, err = filterOf(r, p.parent == nil); err != nil {
		return query, f, err
	}
	at, err := a.address(r, p)
	if err != nil {
		return query, f, err
	}
	query = catalog.Query{
		Table: at.Table, Workspace: at.Workspace, Parent: at.Parent, After: f.after, Size: f.size, Tags: f.tags, AnyTag: f.anyTag,
	}
	if id := r.URL.Query().Get("custom_id"); id != "" && p.e.Table == "consumers" && p.parent == nil {
		query.Where = map[string]string{"custom_id": id}
	}
	return query, f, nil
}

func (a *API) encode(e *schema.Entity, messages []proto.Message) [][]byte {
	items := make([][]byte, len(messages))
	for i, m := range messages {
		items[i] = a.schema.Encode(e, m)
	}
	return items
}

// whole refuses a page from which rows would be missing, for a caller who asks for that: who compares a page
// with a file would take them for deleted.
func whole(found catalog.Page, refuse bool) error {
	if len(found.Undecryptable) == 0 || !refuse {
		return nil
	}
	first := found.Undecryptable[0]
	body, status := rest.Unavailable(first.Err), http.StatusServiceUnavailable
	if fault.KindOf(first.Err) != fault.Unavailable {
		body, status = map[string]any{"name": "stored value does not verify", "message": doesNotOpen(first)["message"]}, http.StatusInternalServerError
	}
	body["undecryptable"] = unopened(found.Undecryptable)
	return &rest.Refusal{Status: status, Body: body}
}

// unopened names rows that do not open, and the keys that are missing.
func unopened(rows []catalog.Undecryptable) []map[string]any {
	named := make([]map[string]any, len(rows))
	for i, row := range rows {
		named[i] = doesNotOpen(row)
	}
	return named
}

func doesNotOpen(row catalog.Undecryptable) map[string]any {
	if fault.KindOf(row.Err) == fault.Unavailable {
		named := rest.Unavailable(row.Err)
		named["entity_name"], named["id"] = row.Table, row.ID
		return named
	}
	return map[string]any{
		"entity_name": row.Table, "id": row.ID, "name": "stored value does not verify",
		"message": "its stored value was changed or moved; write it again as a whole (PUT), or delete it",
	}
}

// mountTargets adds what is special about targets: newest first, with a decimal offset.
func (a *API) mountTargets(t *rest.Table) {
	targets, ok := a.schema.Entity("targets")
	upstreams, also := a.schema.Entity("upstreams")
	if !ok || !also {
		return
	}
	p := place{e: targets, parent: upstreams}
	path := "/upstreams/" + param(upstreams) + "/targets"
	t.Handle("GET", path, func(r *rest.Request) (rest.Answer, error) { return a.newestTargets(r, p) })
	t.Handle("GET", path+"/all", func(r *rest.Request) (rest.Answer, error) { return a.newestTargets(r, p) })
}

func (a *API) newestTargets(r *rest.Request, p place) (rest.Answer, error) {
	size, err := rest.SizeOf(r.URL.Query())
	if err != nil {
		return rest.Answer{}, err
	}
	begin, err := decimalOffset(r)
	if err != nil {
		return rest.Answer{}, err
	}
	at, err := a.address(r, p)
	if err != nil {
		return rest.Answer{}, err
	}
	found, err := a.catalog.List(r.Context(), catalog.Query{Table: at.Table, Workspace: at.Workspace, Parent: at.Parent})
	if err != nil {
		return rest.Answer{}, plainly(err)
	}
	slices.SortStableFunc(found.Entities, func(x, y proto.Message) int {
		return cmp.Or(-cmp.Compare(createdAt(x), createdAt(y)), strings.Compare(p.e.ID(x), p.e.ID(y)))
	})
	begin = min(begin, len(found.Entities))
	end := min(begin+size, len(found.Entities))
	offset := ""
	if end < len(found.Entities) {
		offset = strconv.Itoa(end)
	}
	return page(r, a.encode(p.e, found.Entities[begin:end]), found.Undecryptable, offset), nil
}

func createdAt(m proto.Message) int64 {
	target, _ := m.(*configv1.Target)
	return target.GetCreatedAt()
}

func decimalOffset(r *rest.Request) (int, error) {
	given := r.URL.Query().Get("offset")
	if given == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(given)
	if err != nil || n < 0 {
		return 0, rest.Coded(7, "invalid offset", "'%s' is not a valid offset: a number is expected", given)
	}
	return n, nil
}
