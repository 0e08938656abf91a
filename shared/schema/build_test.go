package schema_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
)

func newSchema() *schema.Schema { return schema.New(plugins.All()) }

func entity(t testing.TB, s *schema.Schema, table string) *schema.Entity {
	t.Helper()
	e, found := s.Entity(table)
	if !found {
		t.Fatalf("no entity %s", table)
	}
	return e
}

func parseJSON(t testing.TB, body string) schema.Document {
	t.Helper()
	doc, err := schema.ParseJSON([]byte(body))
	if err != nil {
		t.Fatalf("ParseJSON(%s): %v", body, err)
	}
	return doc
}

// insert builds a new row of a JSON body that must be right.
func insert(t testing.TB, s *schema.Schema, table, body string) proto.Message {
	t.Helper()
	m, err := s.Build(entity(t, s, table), nil, parseJSON(t, body), schema.Insert, nil)
	if err != nil {
		t.Fatalf("Build(%s): %v", body, err)
	}
	return m
}

// shown returns the row as a tree without its automatic fields.
func shown(t testing.TB, s *schema.Schema, m proto.Message) schema.Document {
	t.Helper()
	doc := parseJSON(t, string(s.Encode(s.EntityOf(m), m)))
	for _, name := range []string{"id", "created_at", "updated_at"} {
		delete(doc, name)
	}
	return doc
}

const (
	someID  = "c0ffee00-0000-4000-8000-000000000001"
	otherID = "c0ffee00-0000-4000-8000-000000000002"
)

// TestBuildRefusesInKongsWords holds the messages of Kong 3.8's Admin API.
func TestBuildRefusesInKongsWords(t *testing.T) {
	t.Parallel()
	const protocols = "grpc, grpcs, http, https, tcp, tls, tls_passthrough, udp"
	tests := map[string]struct {
		table, body string
		message     string // "" is accepted
		fields      map[string]any
	}{
		"nothing for a service": {
			"services", `{}`, "schema violation (host: required field missing)",
			map[string]any{"host": "required field missing"},
		},
		"nothing for a consumer": {
			"consumers", `{}`, "schema violation (at least one of these fields must be non-empty: 'custom_id', 'username')",
			map[string]any{"@entity": []any{"at least one of these fields must be non-empty: 'custom_id', 'username'"}},
		},
		"one_of": {
			"services", `{"host":"h","protocol":"foo"}`, "schema violation (protocol: expected one of: " + protocols + ")",
			map[string]any{"protocol": "expected one of: " + protocols},
		},
		"one_of in a set": {
			"routes", `{"protocols":["foo"]}`, "schema violation (protocols.1: expected one of: " + protocols + ")",
			map[string]any{"protocols": []any{"expected one of: " + protocols}},
		},
		"second element": {
			"routes", `{"protocols":["http","foo"]}`, "schema violation (protocols.2: expected one of: " + protocols + ")",
			map[string]any{"protocols": []any{nil, "expected one of: " + protocols}},
		},
		"several": {
			"services", `{"port":-1,"zzz":1,"protocol":"tcp","path":"/x"}`,
			"5 schema violations (failed conditional validation given value of field 'protocol'; " +
				"host: required field missing; path: value must be null; port: value should be between 0 and 65535; zzz: unknown field)",
			nil,
		},
		"unknown plugin": {
			"plugins", `{"name":"nope"}`,
			"schema violation (name: plugin 'nope' not enabled; GET / lists the plugins there are)", nil,
		},
		"config is text":     {"plugins", `{"name":"key-auth","config":"bar"}`, "schema violation (config: expected a record)", nil},
		"config is null":     {"plugins", `{"name":"key-auth","config":null}`, "schema violation (config: required field missing)", nil},
		"config, unknown":    {"plugins", `{"name":"key-auth","config":{"a":1}}`, "schema violation (config.a: unknown field)", nil},
		"config, empty list": {"plugins", `{"name":"key-auth","config":{"key_names":[]}}`, "schema violation (config.key_names: length must be at least 1)", nil},
		"no plugin name":     {"plugins", `{"config":{}}`, "schema violation (name: required field missing)", nil},
		"no consumer":        {"plugins", `{"name":"key-auth","consumer":{"id":"` + someID + `"}}`, "schema violation (consumer: value must be null)", nil},
		"plugin protocol":    {"plugins", `{"name":"key-auth","protocols":["tcp"]}`, "schema violation (protocols.1: expected one of: grpc, grpcs, http, https)", nil},
		"termination":        {"plugins", `{"name":"request-termination","config":{"message":"a","body":"b"}}`, "schema violation (config: message cannot be used with content_type or body)", nil},
		"termination, type":  {"plugins", `{"name":"request-termination","config":{"content_type":"b"}}`, "schema violation (config: content_type requires a body)", nil},
		"http route": {
			"routes", `{"protocols":["http"]}`,
			"schema violation (must set one of 'methods', 'hosts', 'headers', 'paths' when 'protocols' is 'http')", nil,
		},
		"https route": {
			"routes", `{}`,
			"schema violation (must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'https')", nil,
		},
		"empty lists do not count": {
			"routes", `{"hosts":[],"paths":[]}`,
			"schema violation (must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'https')", nil,
		},
		"stream route":   {"routes", `{"protocols":["tcp"]}`, "schema violation (must set one of 'sources', 'destinations', 'snis' when 'protocols' is 'tcp', 'tls' or 'udp')", nil},
		"http sources":   {"routes", `{"paths":["/"],"sources":[{"port":1}]}`, "schema violation (sources: cannot set 'sources' when 'protocols' is 'http' or 'https')", nil},
		"stream paths":   {"routes", `{"protocols":["tcp"],"paths":["/"],"sources":[{"port":1}]}`, "schema violation (paths: cannot set 'paths' when 'protocols' is 'tcp', 'tls', 'tls_passthrough' or 'udp')", nil},
		"empty source":   {"routes", `{"protocols":["tcp"],"sources":[{}]}`, "schema violation (sources.1: at least one of these fields must be non-empty: 'ip', 'port')", nil},
		"mixed":          {"routes", `{"protocols":["http","tcp"],"paths":["/"]}`, "schema violation (protocols: these sets are mutually exclusive: ('http', 'https'), ('tcp', 'tls', 'udp'))", nil},
		"path":           {"routes", `{"paths":["a"]}`, "schema violation (paths.1: should start with: / (fixed path) or ~/ (regex path))", nil},
		"path, dots":     {"routes", `{"paths":["/a/../b"]}`, "schema violation (paths.1: non-normalized path, consider use '/b' instead)", nil},
		"path, regex":    {"routes", `{"paths":["~/a("]}`, "schema violation (paths.1: invalid regex: '/a(' (RE2 returned: error parsing regexp: missing closing ): `/a(`))", nil},
		"host header":    {"routes", `{"headers":{"Host":["a"]}}`, "schema violation (headers: cannot contain 'host' header, which must be specified in the 'hosts' attribute)", nil},
		"method":         {"routes", `{"methods":["get"]}`, "schema violation (methods.1: invalid value: get)", nil},
		"foreign text":   {"routes", `{"paths":["/"],"service":"x"}`, "schema violation (service: expected a record)", nil},
		"foreign empty":  {"routes", `{"paths":["/"],"service":{}}`, "schema violation (service: missing primary key)", nil},
		"foreign id":     {"routes", `{"paths":["/"],"service":{"id":"x"}}`, "schema violation (service.id: expected a valid UUID; service.name takes a name)", nil},
		"foreign number": {"routes", `{"paths":["/"],"service":{"id":1}}`, "schema violation (service.id: expected a string)", nil},
		"nameless":       {"snis", `{"name":"a.example","certificate":{"id":"x"}}`, "schema violation (certificate.id: expected a valid UUID)", nil},
		"a map's":        {"key_value_maps", `{"name":"m","environment":{"id":"prod"}}`, "schema violation (environment.id: expected a valid UUID; environment.name takes a name)", nil},
		"foreign extras": {"routes", `{"paths":["/"],"service":{"id":"` + someID + `","name":"x"}}`, "", nil},
		"uuid":           {"services", `{"id":"x","host":"h"}`, "schema violation (id: expected a valid UUID)", nil},
		"empty text":     {"services", `{"host":""}`, "schema violation (host: length must be at least 1)", nil},
		"number":         {"services", `{"host":1}`, "schema violation (host: expected a string)", nil},
		"fraction":       {"services", `{"host":"h","port":1.5}`, "schema violation (port: expected an integer)", nil},
		"whole fraction": {"services", `{"host":"h","port":80.0}`, "", nil},
		"text for int":   {"services", `{"host":"h","port":"80"}`, "schema violation (port: expected an integer)", nil},
		"huge":           {"services", `{"host":"h","port":1e400}`, "schema violation (port: expected an integer)", nil},
		"boolean":        {"services", `{"host":"h","enabled":"true"}`, "schema violation (enabled: expected a boolean)", nil},
		"required null":  {"services", `{"host":"h","enabled":null}`, "schema violation (enabled: required field missing)", nil},
		"optional null":  {"services", `{"host":"h","retries":null}`, "", nil},
		"host and port":  {"services", `{"host":"h:80"}`, "schema violation (host: must not have a port)", nil},
		"path, no slash": {"services", `{"host":"h","path":"p"}`, "schema violation (path: should start with: /)", nil},
		"path, empty":    {"services", `{"host":"h","path":"/a//b"}`, "schema violation (path: must not have empty segments)", nil},
		"name":           {"services", `{"host":"h","name":"a b"}`, "schema violation (name: invalid value 'a b': the only accepted ascii characters are alphanumerics or ., -, _, and ~)", nil},
		"tag":            {"services", `{"host":"h","tags":["a,b"]}`, "schema violation (tags.1: invalid tag 'a,b': expected printable ascii (except `,` and `/`) or valid utf-8 sequences)", nil},
		"tags as map":    {"services", `{"host":"h","tags":{"1":"x"}}`, "schema violation (tags: expected a set)", nil},
		"tls only":       {"services", `{"host":"h","tls_verify":true}`, "2 schema violations (failed conditional validation given value of field 'protocol'; tls_verify: value must be null)", nil},
		"NUL":            {"consumers", `{"username":"a\u0000b"}`, "schema violation (username: invalid value: not valid UTF-8 text)", nil},
		"upstream ip":    {"upstreams", `{"name":"1.2.3.4"}`, "schema violation (name: Invalid name ('1.2.3.4'); no ip addresses allowed)", nil},
		"hash header":    {"upstreams", `{"name":"u","hash_on":"header"}`, "2 schema violations (failed conditional validation given value of field 'hash_on'; hash_on_header: required field missing)", nil},
		"hash none":      {"upstreams", `{"name":"u","hash_fallback":"ip"}`, "2 schema violations (failed conditional validation given value of field 'hash_on'; hash_fallback: expected one of: none)", nil},
		"nested record":  {"upstreams", `{"name":"u","healthchecks":{"active":{"timeout":-1}}}`, "schema violation (healthchecks.active.timeout: value should be between 0 and 65535)", nil},
		"nested unknown": {"upstreams", `{"name":"u","healthchecks":{"x":1}}`, "schema violation (healthchecks.x: unknown field)", nil},
		"stored field":   {"keyauth_credentials", `{"consumer":{"id":"` + someID + `"},"expires_at":1}`, "schema violation (expires_at: unknown field)", nil},
		"wire field":     {"keyauth_credentials", `{"consumer":{"id":"` + someID + `"},"fingerprints":["a"]}`, "schema violation (fingerprints: unknown field)", nil},
		"bad cert":       {"certificates", `{"cert":"CERT","key":"KEY"}`, "2 schema violations (cert: invalid certificate: no PEM certificate found; key: invalid key: no PEM private key found)", nil},
		"references":     {"certificates", `{"cert":"{vault://env/a}","key":"{vault://env/b}"}`, "", nil},
		"half a pair":    {"certificates", `{"cert":"{vault://env/a}","key":"{vault://env/b}","cert_alt":"{vault://env/c}"}`, "schema violation (all or none of these fields must be set: 'cert_alt', 'key_alt')", nil},
		"far future":     {"targets", `{"target":"a","upstream":{"id":"` + someID + `"},"created_at":1e300}`, "schema violation (created_at: value should be between 0 and 1099511627776)", nil},
		"url":            {"services", `{"url":"http://"}`, "2 schema violations (host: required field missing; url: missing host in url)", nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSchema()
			_, err := s.Build(entity(t, s, test.table), nil, parseJSON(t, test.body), schema.Insert, nil)
			if test.message == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			v, ok := errors.AsType[*schema.Violations](err)
			if !ok {
				t.Fatalf("error = %v, want %s", err, test.message)
			}
			if v.Message() != test.message || v.Code() != 2 || v.Name() != "schema violation" {
				t.Errorf("code %d %q\n\t%s\nwant\n\t%s", v.Code(), v.Name(), v.Message(), test.message)
			}
			if diff := cmp.Diff(test.fields, v.Fields()); test.fields != nil && diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBuildInsert(t *testing.T) {
	t.Parallel()
	service := func(change func(schema.Document)) schema.Document {
		doc := parseJSON(t, `{"name":null,"retries":5,"protocol":"http","host":"h","port":80,"path":null,"connect_timeout":60000,
			"write_timeout":60000,"read_timeout":60000,"tags":null,"client_certificate":null,"tls_verify":null,
			"tls_verify_depth":null,"ca_certificates":null,"enabled":true}`)
		change(doc)
		return doc
	}
	number := func(text string) any { return parseJSON(t, `{"n":`+text+`}`)["n"] }
	tests := map[string]struct {
		table, body string
		want        schema.Document
	}{
		"url": {"services", `{"url":"https://h/p","name":"s"}`, service(func(d schema.Document) {
			d["name"], d["protocol"], d["port"], d["path"] = "s", "https", number("443"), "/p"
		})},
		"url without scheme": {"services", `{"url":"h:443"}`, service(func(d schema.Document) {
			d["protocol"], d["port"] = "https", number("443")
		})},
		"empty lists stay": {"services", `{"host":"h","tags":[]}`, service(func(d schema.Document) { d["tags"] = []any{} })},
		"a set has no repetitions": {"services", `{"host":"h","tags":["b","a","b"]}`, service(func(d schema.Document) {
			d["tags"] = []any{"b", "a"}
		})},
		"null beats a default": {"services", `{"host":"h","retries":null}`, service(func(d schema.Document) { d["retries"] = nil })},
		"plugin": {"plugins", `{"name":"key-auth","service":{"id":"` + someID + `"}}`, parseJSON(t, `{"name":"key-auth",
			"instance_name":null,"route":null,"service":{"id":"`+someID+`"},"consumer":null,"consumer_group":null,"protocols":["grpc","grpcs","http","https"],
			"enabled":true,"tags":null,"config":{"key_names":["apikey"],"hide_credentials":false,"anonymous":null,"key_in_header":true,
			"key_in_query":true,"key_in_body":false,"run_on_preflight":true,"realm":null}}`)},
		"target": {"targets", `{"target":"10.0.0.1","upstream":{"id":"` + someID + `"}}`, parseJSON(t,
			`{"target":"10.0.0.1:8000","upstream":{"id":"`+someID+`"},"weight":100,"tags":null}`)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSchema()
			if diff := cmp.Diff(test.want, shown(t, s, insert(t, s, test.table, test.body))); diff != "" {
				t.Errorf("row (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBuildFollowsOtherFields(t *testing.T) {
	t.Parallel()
	s := newSchema()
	tests := map[string]struct {
		table, body, field string
		want               any
	}{
		"grpc strips nothing":     {"routes", `{"protocols":["grpc"],"paths":["/"]}`, "strip_path", false},
		"hash_on sets algorithm":  {"upstreams", `{"name":"u","hash_on":"ip"}`, "algorithm", "consistent-hashing"},
		"no hash_on, as it was":   {"upstreams", `{"name":"u","hash_on":"none","algorithm":"latency"}`, "algorithm", "latency"},
		"upper-case ids get low":  {"services", `{"host":"h","protocol":"https","ca_certificates":["C0FFEE00-0000-4000-8000-000000000001"]}`, "ca_certificates", []any{someID}},
		"IPv6 target":             {"targets", `{"target":"::1","upstream":{"id":"` + someID + `"}}`, "target", "[::1]:8000"},
		"empty object for a list": {"services", `{"host":"h","tags":{}}`, "tags", []any{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, shown(t, s, insert(t, s, test.table, test.body))[test.field]); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.field, diff)
			}
		})
	}
}
