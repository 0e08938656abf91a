package rbac

import (
	"net/url"
	"slices"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/shared/schema"
)

const maxBody = 64 << 10

// read reads a body, JSON or a form, that may have only some members.
func read(r *rest.Request, known ...string) (schema.Document, error) {
	body, mediaType, params, err := r.Raw(maxBody)
	if err != nil {
		return nil, err
	}
	doc := schema.Document{}
	switch mediaType {
	case "":
	case rest.TypeJSON:
		if doc, err = schema.ParseJSON(body); err != nil {
			return nil, err
		}
	case rest.TypeForm:
		values, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, schema.ErrForm
		}
		for name, given := range values {
			doc[name] = given[0]
		}
	default:
		names, err := rest.NamesOf(body, mediaType, params)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			value, err := rest.ArgumentOf(body, mediaType, params, name)
			if err != nil {
				return nil, err
			}
			doc[name] = string(value)
		}
	}
	for name := range doc {
		if name == "user_token" {
			return nil, schema.FieldViolation(name, "tokens are made here, of 256 random bits, and shown once; leave it out")
		}
		if !slices.Contains(known, name) {
			return nil, schema.FieldViolation(name, "unknown field")
		}
	}
	return doc, nil
}

func boolean(doc schema.Document, name string, otherwise bool) (bool, error) {
	switch value := doc[name]; value {
	case nil:
		return otherwise, nil
	case true, "true":
		return true, nil
	case false, "false":
		return false, nil
	}
	return false, schema.FieldViolation(name, "expected a boolean")
}
