package keys

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/shared/schema"
)

// arguments are the texts of a body, by name. What a request brings may be a key: each value is copied out of the
// body once, and both are to be wiped.
type arguments struct {
	names  []string // that are known
	values map[string][]byte
}

// read takes a JSON object, a form or a multipart form, and refuses names that it does not know: a misspelt
// accept_unproven or force must not pass for none. The caller wipes what it gets.
func read(r *rest.Request, names ...string) (arguments, error) {
	a := arguments{names, map[string][]byte{}}
	body, mediaType, params, err := r.Raw(maxBody)
	if err != nil {
		return a, err
	}
	defer clear(body)
	switch mediaType {
	case "":
	case rest.TypeJSON:
		err = a.json(body)
	case rest.TypeForm:
		err = a.form(body)
	case rest.TypeMultipart:
		err = a.multipart(body, params["boundary"])
	default:
		err = &rest.Refusal{Status: http.StatusUnsupportedMediaType}
	}
	if err != nil {
		a.wipe()
	}
	return a, err
}

// maxBody bounds a body: a blob of a few thousand keys.
const maxBody = 2 << 20

func (a arguments) wipe() {
	for _, value := range a.values {
		clear(value)
	}
}

// wants reports whether a value is the first of its name, which counts, as in the whole of the API.
func (a arguments) wants(name string) (bool, error) {
	if !slices.Contains(a.names, name) {
		return false, a.unknown(name)
	}
	_, given := a.values[name]
	return !given, nil
}

// unknown names a field that nobody knows, when it looks like a field's name: `curl -d "$KEY"` makes a name of a key.
func (a arguments) unknown(name string) error {
	if !regexp.MustCompile(`^[a-z][a-z_]{0,30}$`).MatchString(name) {
		name = "a name without a value"
	}
	expected := "none"
	if len(a.names) > 0 {
		expected = strings.Join(a.names, ", ")
	}
	return rest.Refuse(http.StatusBadRequest, "%s: unknown field; expected: %s", name, expected)
}

func (a arguments) json(body []byte) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil || members == nil {
		return schema.ErrJSON
	}
	for _, raw := range members {
		defer clear(raw)
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if _, err := a.wants(name); err != nil {
			return err
		}
		value, err := scalar(name, members[name])
		if err != nil {
			return err
		}
		a.values[name] = value
	}
	return nil
}

// scalar is a JSON value as a form would have it.
func scalar(name string, raw json.RawMessage) ([]byte, error) {
	switch raw[0] {
	case '"':
		var value text
		if err := json.Unmarshal(raw, &value); err != nil {
			return nil, schema.ErrJSON
		}
		return value, nil
	case '{', '[':
		return nil, rest.Refuse(http.StatusBadRequest, "%s: expected a string", name)
	case 'n':
		return nil, nil
	}
	return bytes.Clone(raw), nil
}

// text is a JSON string that encoding/json makes no other copy of.
type text []byte

func (t *text) UnmarshalText(data []byte) error {
	*t = bytes.Clone(data)
	return nil
}

func (a arguments) multipart(body []byte, boundary string) error {
	reader := multipart.NewReader(bytes.NewReader(body), boundary)
	for range schema.MaxArguments {
		part, err := reader.NextRawPart()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return schema.ErrForm
		}
		name := part.FormName()
		wanted, err := a.wants(name)
		if err != nil {
			return err
		}
		if !wanted {
			continue
		}
		value := bytes.NewBuffer(make([]byte, 0, len(body)+bytes.MinRead)) // so that it never grows, which leaves copies
		_, err = value.ReadFrom(part)
		a.values[name] = value.Bytes()
		if err != nil {
			return schema.ErrForm
		}
	}
	return schema.ErrTooManyArguments
}

// keyOf reads the id in the field "key", and "force", which may also stand in the query.
func keyOf(r *rest.Request, names ...string) (id string, force bool, err error) {
	given, err := read(r, append([]string{"key"}, names...)...)
	if err != nil {
		return "", false, err
	}
	defer given.wipe()
	if len(given.values["key"]) == 0 {
		return "", false, rest.Refuse(http.StatusBadRequest, "key: required field missing; it is the id of a key, as GET /keyring lists them")
	}
	force, _, err = given.flag(r, "force")
	return string(given.values["key"]), force, err
}

// flag reads what is on or off, in the body or in the query.
func (a arguments) flag(r *rest.Request, name string) (on, said bool, err error) {
	value, inBody := a.values[name]
	switch text := strings.ToLower(string(value)); {
	case !inBody || text == "":
		on, err = r.Flag(name)
		return on, inBody || r.URL.Query().Has(name), err
	case slices.Contains([]string{"1", "true", "on", "yes"}, text):
		return true, true, nil
	case slices.Contains([]string{"0", "false", "off", "no"}, text):
		return false, true, nil
	}
	return false, true, rest.Refuse(http.StatusBadRequest, "%s wants 1 or 0", name)
}
