package schema_test

import (
	"testing"

	"github.com/keepgate/keepgate/shared/schema"
)

// What would match nothing is refused, not kept silently.
func TestProxyCacheWantsWhatCanMatch(t *testing.T) {
	t.Parallel()
	s := newSchema()
	const noMedia = " is no media type, as text/plain or text/*; */* stands for any)"
	for config, message := range map[string]string{
		`"content_type":["text/plain","application/json; charset=utf-8"," Text/Plain ;a=b","*","*/*","text/*","*/json"]`: "",
		`"content_type":[]`:                          "",
		`"content_type":["text/plain","json"]`:       "schema violation (config: content_type: 'json'" + noMedia,
		`"content_type":["text/"]`:                   "schema violation (config: content_type: 'text/'" + noMedia,
		`"content_type":["/plain"]`:                  "schema violation (config: content_type: '/plain'" + noMedia,
		`"content_type":["text/plain,text/html"]`:    "schema violation (config: content_type: 'text/plain,text/html'" + noMedia,
		`"content_type":["*; q=1"]`:                  "",
		`"vary_headers":["Accept-Language","x_A.b"]`: "",
		`"vary_headers":["Accept","a b"]`:            "schema violation (config: vary_headers: 'a b' is not the name of a header)",
		`"vary_headers":["Accept:"]`:                 "schema violation (config: vary_headers: 'Accept:' is not the name of a header)",
	} {
		t.Run(config, func(t *testing.T) {
			t.Parallel()
			doc := parseJSON(t, `{"name":"proxy-cache","config":{"strategy":"memory",`+config+`}}`)
			if _, err := s.Build(entity(t, s, "plugins"), nil, doc, schema.Insert, nil); (err == nil) != (message == "") || err != nil && err.Error() != message {
				t.Errorf("error = %v, want %q", err, message)
			}
		})
	}
}

// What no request can carry would have the gates refuse the plugin. A value may be a secret, and is not told.
func TestHTTPLogWantsHeadersThatCanBeSent(t *testing.T) {
	t.Parallel()
	s := newSchema()
	const refused = "schema violation (config: the value of the header 'X-Key' holds a control character, which no request can carry)"
	for value, message := range map[string]string{
		`a b\t\u00fc~`: "", `{vault://env/key}`: "", `CANARY\n`: refused, `\u0001CANARY`: refused, `CANARY\rX: y`: refused, `\u007f`: refused,
	} {
		t.Run(value, func(t *testing.T) {
			t.Parallel()
			doc := parseJSON(t, `{"name":"http-log","config":{"http_endpoint":"http://log.example","headers":{"A":"b","X-Key":"`+value+`"}}}`)
			if _, err := s.Build(entity(t, s, "plugins"), nil, doc, schema.Insert, nil); (err == nil) != (message == "") || err != nil && err.Error() != message {
				t.Errorf("error = %v, want %q", err, message)
			}
		})
	}
}
