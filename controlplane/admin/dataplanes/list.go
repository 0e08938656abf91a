package dataplanes

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/fleet"
)

// key is a data plane's place in the list.
type key [3]string

func keyOf(s fleet.Status) key { return key{s.Environment, s.Name, s.NodeID} }

func (k key) compare(other key) int { return slices.Compare(k[:], other[:]) }

// list answers a page, in the order of environment, name and id. It is sought by key, so that data planes which come
// and go meanwhile move nobody to another page.
func (a *API) list(r *rest.Request) (rest.Answer, error) {
	query := r.URL.Query()
	size, err := rest.SizeOf(query)
	if err != nil {
		return rest.Answer{}, err
	}
	after, err := afterOf(query)
	if err != nil {
		return rest.Answer{}, err
	}
	f, err := filterOf(query)
	if err != nil {
		return rest.Answer{}, err
	}
	show, err := a.show(r.Context())
	if err != nil {
		return rest.Answer{}, err
	}
	all, err := a.deps.Fleet.List(r.Context())
	if err != nil {
		return rest.Answer{}, err
	}
	total := 0
	found := slices.DeleteFunc(all, func(s fleet.Status) bool {
		if !f.takes(show, s) {
			return true
		}
		total++
		return after != nil && keyOf(s).compare(*after) <= 0
	})
	slices.SortFunc(found, func(x, y fleet.Status) int { return keyOf(x).compare(keyOf(y)) })
	body := map[string]any{"next": nil, "total": total}
	if len(found) > size {
		found = found[:size]
		offset := rest.EncodeOffset(keyOf(found[size-1]))
		query.Set("offset", offset)
		body["offset"], body["next"] = offset, r.Prefix+"/clustering/data-planes?"+query.Encode()
	}
	data := make([]row, len(found))
	environments := map[string]Position{}
	for i, s := range found {
		data[i] = show.row(s)
		if p, ok := a.deps.Newest(s.Environment); ok {
			environments[s.Environment] = p
		}
	}
	body["data"], body["environments"] = data, environments
	if body["revision"], err = a.revision(r.Context()); err != nil {
		return rest.Answer{}, err
	}
	if p, ok := a.deps.Newest(f.of()); ok {
		body["newest"] = p
	}
	return rest.JSON(http.StatusOK, body), nil
}

// revision says how far the database is and how far this node has read it, for those who wait for what they have just written.
func (a *API) revision(ctx context.Context) (map[string]uint64, error) {
	published := a.deps.Published()
	database, err := a.deps.Head(ctx)
	return map[string]uint64{"database": database, "published": published}, err
}

func afterOf(query url.Values) (*key, error) {
	given := query.Get("offset")
	if given == "" {
		return nil, nil
	}
	text, err := rest.DecodeOffset(given)
	var after []string
	if err == nil {
		err = json.Unmarshal(text, &after)
	}
	if err != nil || len(after) != len(key{}) {
		return nil, rest.Coded(7, "invalid offset", "'%s' is not a valid offset: the one of a page before is expected", given)
	}
	return (*key)(after), nil
}

// one answers for the data plane of an id, of "<environment>/<name>", or of a name that one environment alone has.
func (a *API) one(r *rest.Request) (rest.Answer, error) {
	f, err := filterOf(r.URL.Query())
	if err != nil {
		return rest.Answer{}, err
	}
	show, err := a.show(r.Context())
	if err != nil {
		return rest.Answer{}, err
	}
	all, err := a.deps.Fleet.List(r.Context())
	if err != nil {
		return rest.Answer{}, err
	}
	wanted := r.Param(0)
	found := slices.DeleteFunc(all, func(s fleet.Status) bool {
		return !f.takes(show, s) || wanted != s.Name && wanted != identity(s) && !strings.EqualFold(wanted, s.NodeID)
	})
	if left := slices.DeleteFunc(slices.Clone(found), show.replaced); len(left) > 0 {
		found = left // of those of one name the one that has it now
	}
	switch len(found) {
	case 0:
		return rest.Answer{}, rest.NotFound()
	case 1:
		shown := show.row(found[0])
		shown.Plugins = found[0].Plugins
		return rest.JSON(http.StatusOK, shown), nil
	}
	var names []string
	for _, s := range found {
		names = append(names, identity(s)+" ("+s.NodeID+")")
	}
	slices.Sort(names)
	return rest.Answer{}, rest.Refuse(http.StatusBadRequest, "more than one data plane is called '%s': %s; say which by its id, or with ?environment=",
		wanted, strings.Join(names, ", "))
}
