package authorities

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/shared/schema"
)

const maxBody = 2 << 20

// given is what a body says, by name.
type given map[string]string

// read takes a JSON object, a form or a multipart form, and refuses names that it does not know: a misspelt word must not pass for none.
func read(r *rest.Request, names ...string) (given, error) {
	body, mediaType, params, err := r.Raw(maxBody)
	if err != nil || mediaType == "" {
		return given{}, err
	}
	found, err := rest.NamesOf(body, mediaType, params)
	if err != nil {
		return nil, err
	}
	for _, name := range found {
		if !slices.Contains(names, name) {
			return nil, refuse("unknown field; expected: %s", strings.Join(names, ", "))
		}
	}
	g := given{}
	if mediaType == rest.TypeJSON {
		return g, g.json(body)
	}
	for _, name := range names {
		value, err := rest.ArgumentOf(body, mediaType, params, name)
		if err != nil {
			return nil, err
		}
		if value != nil {
			g[name] = string(value)
		}
	}
	return g, nil
}

func (g given) json(body []byte) error {
	doc, err := schema.ParseJSON(body)
	if err != nil {
		return err
	}
	for name, value := range doc {
		switch value := value.(type) {
		case nil:
		case string:
			g[name] = value
		case bool:
			g[name] = strconv.FormatBool(value)
		default:
			return refuse("%s: expected a string or a boolean", name)
		}
	}
	return nil
}

// flag reads what is on or off.
func (g given) flag(name string) (bool, error) {
	switch strings.ToLower(g[name]) {
	case "", "0", "false", "off", "no":
		return false, nil
	case "1", "true", "on", "yes":
		return true, nil
	}
	return false, refuse("%s: expected a boolean", name)
}

func refuse(format string, args ...any) error {
	return rest.Refuse(http.StatusBadRequest, format, args...)
}
