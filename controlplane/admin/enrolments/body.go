package enrolments

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/shared/schema"
)

const maxBody = 16 << 10

// read takes a body of any type as names and texts, and refuses names that it does not know: a misspelt environment must
// not pass for none.
func read(r *rest.Request, known ...string) (map[string]string, error) {
	body, mediaType, params, err := r.Raw(maxBody)
	if err != nil || mediaType == "" {
		return map[string]string{}, err
	}
	names, err := rest.NamesOf(body, mediaType, params)
	if err != nil {
		return nil, err
	}
	given := map[string]string{}
	var doc schema.Document
	if mediaType == rest.TypeJSON {
		if doc, err = schema.ParseJSON(body); err != nil {
			return nil, err
		}
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, rest.Refuse(http.StatusBadRequest, "unknown field; expected: %s", strings.Join(known, ", "))
		}
		if doc != nil {
			if given[name], err = word(name, doc[name]); err != nil {
				return nil, err
			}
			continue
		}
		value, err := rest.ArgumentOf(body, mediaType, params, name)
		if err != nil {
			return nil, err
		}
		given[name] = string(value)
	}
	return given, nil
}

func word(name string, value any) (string, error) {
	switch value := value.(type) {
	case nil:
		return "", nil
	case string:
		return value, nil
	case bool:
		return strconv.FormatBool(value), nil
	case json.Number:
		return value.String(), nil
	}
	return "", schema.FieldViolation(name, "expected a string")
}
