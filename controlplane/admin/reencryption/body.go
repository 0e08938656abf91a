package reencryption

import (
	"bytes"
	"encoding/json"
	"io"
	"mime/multipart"
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

// read takes a JSON object, a form or a multipart form, and refuses what it does not know: a misspelt table must not
// become all, nor one that stands in the query.
func read(r *rest.Request, names ...string) (given, error) {
	const limit = 64 << 10
	g := given{texts: map[string]string{}}
	for _, name := range names {
		if r.URL.Query().Has(name) {
			return g, rest.Refuse(http.StatusBadRequest, "%s: it belongs into the body", name)
		}
	}
	body, mediaType, params, err := r.Raw(limit)
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
	case rest.TypeMultipart:
		if members, err = partMembers(body, params["boundary"]); err != nil {
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

// partMembers takes the first value of each name, as of a form.
func partMembers(body []byte, boundary string) (map[string]any, error) {
	reader, members := multipart.NewReader(bytes.NewReader(body), boundary), map[string]any{}
	for range schema.MaxArguments {
		part, err := reader.NextPart()
		if err == io.EOF { // a form that breaks off wraps it
			return members, nil
		}
		if err != nil {
			return nil, schema.ErrForm
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return nil, schema.ErrForm
		}
		if _, given := members[part.FormName()]; !given {
			members[part.FormName()] = string(value)
		}
	}
	return nil, schema.ErrTooManyArguments
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
