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
		"identity":         {"request-transformer", `{"add":{"headers":["x_consumer-ID:admin"]}}`, "schema violation (config: the header 'x_consumer-ID' is the gateway's own to write)"},
		"framing":          {"request-transformer", `{"append":{"headers":["Content-Length:5"]}}`, "schema violation (config: the header 'Content-Length' is the gateway's own to write)"},
		"to an identity":   {"request-transformer", `{"rename":{"headers":["x-mine:X-Credential-Identifier"]}}`, "schema violation (config: the header 'X-Credential-Identifier' is the gateway's own to write)"},
		"the host":         {"request-transformer", `{"replace":{"headers":["Host:a.test"]}}`, ""},
		"another host":     {"request-transformer", `{"add":{"headers":["host:a.test"]}}`, "schema violation (config: the header 'host' is the gateway's own to write)"},
		"removed identity": {"request-transformer", `{"remove":{"headers":["X-Consumer-ID"]},"rename":{"headers":["X-Consumer-Username:x-user"]}}`, ""},
		"no header":        {"request-transformer", `{"remove":{"headers":["a b"]}}`, "schema violation (config: 'a b' is not the name of a header)"},
		"a member":         {"request-transformer", `{"add":{"body":["X-Consumer-ID:1"]}}`, ""},
		"an own framing":   {"response-transformer", `{"replace":{"headers":["Transfer-Encoding:gzip"]}}`, "schema violation (config: the header 'Transfer-Encoding' is the gateway's own to write)"},
		"to a client":      {"response-transformer", `{"add":{"headers":["X-Consumer-ID:1"]},"remove":{"headers":["Trailer"]}}`, ""},
		"no header's name": {"response-transformer", `{"rename":{"headers":["a:b c"]}}`, "schema violation (config: 'b c' is not the name of a header)"},
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
