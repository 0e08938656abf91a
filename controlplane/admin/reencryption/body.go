package reencryption

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/shared/schema"
)

// given is what a body says.
type given struct {
	texts map[string]string
	rate  int
	paced bool // it names a rate
}

// read takes a JSON object or a form, and refuses what it does not know: a misspelt table must not become all.
func read(r *rest.Request, names ...string) (given, error) {
	const limit = 64 << 10
	g := given{texts: map[string]string{}}
	body, mediaType, _, err := r.Raw(limit)
	if err != nil {
		return g, err
	}
	var members map[string]any
	switch mediaType {
	case "":
		return g, nil
	case rest.TypeJSON:
		if members, err = schema.ParseJSON(body); err != nil {
			return g, err
		}
	case rest.TypeForm:
		if members, err = formMembers(body); err != nil {
			return g, err
		}
	default:
		return g, &rest.Refusal{Status: http.StatusUnsupportedMediaType}
	}
	for name, value := range members {
		if !slices.Contains(names, name) {
			return g, rest.Refuse(http.StatusBadRequest, "unknown field; expected: %s", strings.Join(names, ", "))
		}
		if err := g.set(name, value); err != nil {
			return g, err
		}
	}
	return g, nil
}

func formMembers(body []byte) (map[string]any, error) {
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, schema.ErrForm
	}
	members := make(map[string]any, len(values))
	for name := range values {
		members[name] = values.Get(name)
	}
	return members, nil
}

func (g *given) set(name string, value any) error {
	if value == nil {
		return nil
	}
	text, isText := value.(string)
	number, isNumber := value.(json.Number)
	if name != "rate" {
		if !isText {
			return rest.Refuse(http.StatusBadRequest, "%s: expected a string", name)
		}
		g.texts[name] = text
		return nil
	}
	if isNumber {
		text = number.String()
	}
	rate, err := strconv.Atoi(text)
	if err != nil || (!isText && !isNumber) {
		return rest.Refuse(http.StatusBadRequest, "rate: expected a whole number of rows a second, or 0 for no limit")
	}
	g.rate, g.paced = rate, true
	return nil
}
