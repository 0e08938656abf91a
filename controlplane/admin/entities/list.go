package entities

import (
	"cmp"
	"fmt"
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
	found, err := a.catalog.List(r.Context(), query)
	if err != nil {
		return rest.Answer{}, plainly(err)
	}
	if err := whole(found, f.skip); err != nil {
		return rest.Answer{}, err
	}
	offset := ""
	if found.More {
		offset = encodeOffset([]string{found.Last})
	}
	if p.parent != nil {
		return page(r, a.encode(p.e, found.Entities), offset), nil
	}
	return page(r, a.encode(p.e, found.Entities), offset, "size", "tags", "custom_id", "undecryptable"), nil
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

// whole refuses a page from which rows would be missing: who compares it with a file would take them for
// deleted. The caller may ask to go on without.
func whole(found catalog.Page, skip bool) error {
	if len(found.Undecryptable) == 0 || skip {
		return nil
	}
	const advice = "; ?undecryptable=skip lists the others"
	first := found.Undecryptable[0]
	ids := make([]any, len(found.Undecryptable))
	for i, row := range found.Undecryptable {
		ids[i] = row.ID
	}
	if fault.KindOf(first.Err) != fault.Unavailable {
		return &rest.Refusal{Status: http.StatusInternalServerError, Body: map[string]any{
			"name": "stored value does not verify", "undecryptable": ids,
			"message": fmt.Sprintf("%s that do not open: %d; their stored values were changed or moved", first.Table, len(ids)) + advice,
		}}
	}
	body := rest.Unavailable(first.Err)
	body["undecryptable"] = ids
	body["message"] = fmt.Sprint(body["message"]) + advice
	return &rest.Refusal{Status: http.StatusServiceUnavailable, Body: body}
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
	size, err := sizeOf(r.URL.Query())
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
	if err := whole(found, false); err != nil {
		return rest.Answer{}, err
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
	return page(r, a.encode(p.e, found.Entities[begin:end]), offset), nil
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
