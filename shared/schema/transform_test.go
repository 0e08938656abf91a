package schema_test

import (
	"testing"

	"github.com/keepgate/keepgate/shared/schema"
)

// What sets something says what to: Kong's phrase names the key.
func TestTransformersWantValues(t *testing.T) {
	t.Parallel()
	s := newSchema()
	for name, test := range map[string]struct {
		plugin  string
		config  string
		message string
	}{
		"values":           {"request-transformer", `{"add":{"headers":["a:b","c::d:e"]}}`, ""},
		"removed":          {"request-transformer", `{"remove":{"body":["a"]}}`, ""},
		"no value":         {"request-transformer", `{"add":{"headers":["a:b","x-c"]}}`, "schema violation (config: key 'x-c' has no value)"},
		"only colons":      {"request-transformer", `{"replace":{"querystring":["a::"]}}`, "schema violation (config: key 'a' has no value)"},
		"no new name":      {"response-transformer", `{"rename":{"json":["a"]}}`, "schema violation (config: key 'a' has no value)"},
		"nothing appended": {"response-transformer", `{"append":{"headers":["a:"]}}`, "schema violation (config: key 'a' has no value)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc := parseJSON(t, `{"name":"`+test.plugin+`","config":`+test.config+`}`)
			if _, err := s.Build(entity(t, s, "plugins"), nil, doc, schema.Insert, nil); (err == nil) != (test.message == "") || err != nil && err.Error() != test.message {
				t.Errorf("error = %v, want %q", err, test.message)
			}
		})
	}
}
