package environments

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
)

// Held is an entity that an environment holds, and why.
type Held struct {
	Kind      string `json:"kind"`
	ID        string `json:"id"`
	Workspace string `json:"workspace,omitempty"` // id
	Name      string `json:"name,omitempty"`
	Why       string `json:"why"`
}

// holds is GET /environments/{name}/holds?kind=consumers: what data planes of the environment are given, and why. It
// counts all kinds, also where it lists one.
func (a *API) holds(r *rest.Request) (rest.Answer, error) {
	environment, err := a.find(r)
	if err != nil {
		return rest.Answer{}, err
	}
	query := r.URL.Query()
	size, err := rest.SizeOf(query)
	if err != nil {
		return rest.Answer{}, err
	}
	kind, after := query.Get("kind"), Held{}
	if kind != "" && !slices.Contains(a.deps.Kinds, kind) {
		return rest.Answer{}, rest.Refuse(http.StatusBadRequest, "kind must be one of: %s", strings.Join(a.deps.Kinds, ", "))
	}
	if after, err = heldAfter(query); err != nil {
		return rest.Answer{}, err
	}
	all, err := a.deps.Holds(environment.GetName())
	if err != nil {
		return rest.Answer{}, err
	}
	counts := map[string]int{}
	data := []Held{}
	for _, one := range all {
		counts[one.Kind]++
		if (kind == "" || one.Kind == kind) && compareHeld(one, after) > 0 {
			data = append(data, one)
		}
	}
	body := map[string]any{"environment": environment.GetName(), "counts": counts, "next": nil}
	if len(data) > size {
		data = data[:size]
		last := data[size-1]
		offset := rest.EncodeOffset([]string{last.Kind, last.ID})
		query.Set("offset", offset)
		body["offset"], body["next"] = offset, r.Prefix+"/environments/"+url.PathEscape(environment.GetName())+"/holds?"+query.Encode()
	}
	body["data"] = data
	return rest.JSON(http.StatusOK, body), nil
}

func compareHeld(x, y Held) int { return cmp.Or(cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.ID, y.ID)) }

func heldAfter(query url.Values) (after Held, err error) {
	given := query.Get("offset")
	if given == "" {
		return after, nil
	}
	text, err := rest.DecodeOffset(given)
	var key []string
	if err == nil {
		err = json.Unmarshal(text, &key)
	}
	if err != nil || len(key) != 2 {
		return after, rest.Coded(7, "invalid offset", "'%s' is not a valid offset: the one of a page before is expected", given)
	}
	return Held{Kind: key[0], ID: key[1]}, nil
}
