package rbac

import (
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"time"

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

// lastExpiry is where the years of RFC 3339 end. Milliseconds, taken for seconds, come behind it.
const lastExpiry = 253402300799

// expiry reads until when a token holds: Unix seconds or RFC 3339; null, and "" of a form, is for good.
func expiry(doc schema.Document, otherwise int64, now time.Time) (int64, error) {
	given, found := doc["expires"]
	if !found {
		return otherwise, nil
	}
	var at int64
	var err error
	switch value := given.(type) {
	case nil:
		return 0, nil
	case json.Number:
		at, err = value.Int64()
	case float64:
		at = int64(value)
	case string:
		if value == "" {
			return 0, nil
		}
		if at, err = strconv.ParseInt(value, 10, 64); err != nil {
			var date time.Time
			date, err = time.Parse(time.RFC3339, value)
			at = date.Unix()
		}
	default:
		at = -1
	}
	if err != nil || at < 0 || at > lastExpiry {
		return 0, schema.FieldViolation("expires", "expected seconds since 1970, a date as 2027-01-31T00:00:00Z, or null")
	}
	if at <= now.Unix() {
		return 0, schema.FieldViolation("expires", "lies in the past; to shut a user out, say enabled=false")
	}
	return at, nil
}
