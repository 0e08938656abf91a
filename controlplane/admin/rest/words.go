package rest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/keepgate/keepgate/shared/schema"
)

// Words is what a small body says, by name, each as a form has it.
type Words map[string]string

// Said takes a JSON object, a form or a multipart form of at most limit bytes, and refuses names that are not among these: a misspelt
// word must not pass for none. No body says nothing.
func (r *Request) Said(limit int64, names ...string) (Words, error) {
	body, mediaType, params, err := r.Raw(limit)
	if err != nil || mediaType == "" {
		return Words{}, err
	}
	found, err := NamesOf(body, mediaType, params)
	if err != nil {
		return nil, err
	}
	for _, name := range found {
		if !slices.Contains(names, name) {
			return nil, Refuse(http.StatusBadRequest, "unknown field; expected: %s", strings.Join(append(slices.Clone(names), "none")[:max(1, len(names))], ", "))
		}
	}
	w := Words{}
	if mediaType == TypeJSON {
		return w, w.json(body)
	}
	for _, name := range names {
		value, err := ArgumentOf(body, mediaType, params, name)
		if err != nil {
			return nil, err
		}
		if value != nil {
			w[name] = string(value)
		}
	}
	return w, nil
}

// json takes texts, numbers, and what is true or false.
func (w Words) json(body []byte) error {
	doc, err := schema.ParseJSON(body)
	if err != nil {
		return err
	}
	for name, value := range doc {
		switch value := value.(type) {
		case nil:
		case string:
			w[name] = value
		case bool:
			w[name] = strconv.FormatBool(value)
		case json.Number:
			w[name] = value.String()
		default:
			return Refuse(http.StatusBadRequest, "%s: expected a string, a number or a boolean", name)
		}
	}
	return nil
}

// Flag reads what is on or off, off where nothing is said.
func (w Words) Flag(name string) (bool, error) {
	switch strings.ToLower(w[name]) {
	case "", "0", "false", "off", "no":
		return false, nil
	case "1", "true", "on", "yes":
		return true, nil
	}
	return false, Refuse(http.StatusBadRequest, "%s: expected a boolean", name)
}
