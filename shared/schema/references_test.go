package schema_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
	"github.com/keepgate/keepgate/shared/schema"
)

func TestReferencesAreReadStrictly(t *testing.T) {
	t.Parallel()
	consumer := `"consumer":{"id":"` + someID + `"}`
	const nowhere = "references are not taken here"
	for body, want := range map[string]string{
		`certificates {"cert":"{vault://env/s3cret","key":"{vault://env/b}"}`:                                        "cert: invalid reference: the reference does not end with }",
		`certificates {"cert":"{kvm://tls/cert}","key":"{vault://env/s3cret?prefix=A}"}`:                             "key: invalid reference: the reference has a parameter that is not taken",
		`plugins {"name":"http-log","config":{"http_endpoint":"{vault://S3cret/k}"}}`:                                "config.http_endpoint: invalid reference: the vault of the reference is no kind",
		`plugins {"name":"http-log","config":{"http_endpoint":"http://h","headers":{"A":"{vault://env}"}}}`:          "invalid reference: the reference names no secret",
		`plugins {"name":"http-log","config":{"http_endpoint":"{kvm://log/url}","headers":{"A":"{vault://env/b}"}}}`: "",
		`keyauth_credentials {` + consumer + `,"key":"{vault://env/s3cret}"}`:                                        "key: " + nowhere,
		`basicauth_credentials {` + consumer + `,"username":"u","password":"{vault://env/s3cret}"}`:                  "password: " + nowhere,
		`basicauth_credentials {` + consumer + `,"username":"u","password":"{kvm://m/s3cret}"}`:                      "password: " + nowhere,
		`jwt_secrets {` + consumer + `,"key":"k","secret":"{vault://env/s3cret}"}`:                                   "secret: " + nowhere,
		`key_value_entries {"map":{"id":"` + someID + `"},"key":"k","value":"{vault://env/s3cret}"}`:                 "value: " + nowhere,
		`basicauth_credentials {` + consumer + `,"username":"u","password":"a {vault://env/x}"}`:                     "",
		`consumers {"username":"{vault://env/x}"}`:                                                                   "",
		`vaults {"name":"hcv","prefix":"v1","config":{"auth_method":"token","token":"{vault://env/token}"}}`:         "",
		`vaults {"name":"hcv","prefix":"v1","config":{"auth_method":"token","token":"{vault://env/s3cret"}}`:         "token: invalid reference",
	} {
		table, doc, _ := strings.Cut(body, " ")
		s := newSchema()
		_, err := s.Build(entity(t, s, table), nil, parseJSON(t, doc), schema.Insert, nil)
		switch {
		case want == "" && err == nil:
		case want == "" || err == nil || !strings.Contains(err.Error(), want):
			t.Errorf("%s: %v, want %q", body, err, want)
		case strings.Contains(strings.ToLower(err.Error()), "s3cret"):
			t.Errorf("%s: the refusal repeats it: %v", body, err)
		}
	}
}

// Whatever a control plane or a gate keeps in one way only could never be compared with what a reference leads to.
func TestOneWayFieldsTakeNoReferences(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, e := range newSchema().Entities() {
		for _, f := range e.Fields {
			if f.OneWay != 0 {
				seen++
				if f.Referenceable {
					t.Errorf("%s.%s has a one-way form and takes references", e.Table, f.Name)
				}
			}
		}
	}
	if seen == 0 {
		t.Error("no field has a one-way form")
	}
}

func TestVaultsHaveTheMembersOfTheirKind(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"name":"env","prefix":"e1","config":{"prefix":"TEAM_"}}`:                     "",
		`{"name":"env","prefix":"e1","config":{"ttl":5}}`:                              "config.ttl: unknown field",
		`{"name":"file","prefix":"f1","config":{"prefix":"team","ttl":5,"neg_ttl":1}}`: "",
		`{"name":"file","prefix":"f1","config":{"host":"h"}}`:                          "config.host: unknown field",
		`{"name":"hcv","prefix":"h1","config":{}}`:                                     "",
		`{"name":"hcv","prefix":"h1","config":{"prefix":"x"}}`:                         "config.prefix: unknown field",
		`{"name":"hcv","prefix":"h1","config":{"auth_method":"token"}}`:                "config.token: required field missing",
		`{"name":"aws","prefix":"a1","config":{}}`:                                     "name: expected one of: env, file, hcv",
		`{"name":"env","prefix":"env","config":{}}`:                                    "prefix: must not be one of",
		`{"name":"env","prefix":"E1","config":{}}`:                                     "prefix: invalid value",
		`{"name":"env","prefix":"e","config":{}}`:                                      "prefix: invalid value",

		`{"name":"env","prefix":"e1","config":{"prefix":"A=B"}}`:                                                  "schema violation (config.prefix: no beginning of a variable's name: letters, digits, '_' and '-' are)",
		`{"name":"file","prefix":"f1","config":{"prefix":"/team/prod/"}}`:                                         "",
		`{"name":"file","prefix":"f1","config":{"prefix":"team/../.."}}`:                                          "schema violation (config.prefix: no folder: write it as team/prod, without '.', '..' and empty names)",
		`{"name":"hcv","prefix":"h1","config":{"port":8201,"protocol":"https"}}`:                                  "schema violation (config.host: required where port or protocol is set",
		`{"name":"hcv","prefix":"h1","config":{"host":"vault.example","protocol":"http"}}`:                        "schema violation (config.protocol: http would send the token",
		`{"name":"hcv","prefix":"h1","config":{"host":"[::1]","protocol":"http"}}`:                                "",
		`{"name":"hcv","prefix":"h1","config":{"mount":"a//b","namespace":"a b"}}`:                                "2 schema violations (config.mount: \"a//b\" is no mount or path of Vault: write it as team/keys; config.namespace: no namespace: write it as team/project)",
		`{"name":"hcv","prefix":"h1","config":{"kube_auth_path":"/"}}`:                                            "schema violation (config.kube_auth_path: ",
		`{"name":"hcv","prefix":"h1","config":{"host":"vault.example","token":"{kvm://m/s3cret}"}}`:               "schema violation (config.token: a reference to a map",
		`{"name":"hcv","prefix":"h1","config":{"host":"vault.example","token":"{vault://hcv/s3cret/k}"}}`:         "schema violation (config.token: a reference to a vault that takes a token",
		`{"name":"hcv","prefix":"h1","config":{"host":"vault.example","token":"{vault://file/s3cret}","port":1}}`: "",
	} {
		s := newSchema()
		_, err := s.Build(entity(t, s, "vaults"), nil, parseJSON(t, body), schema.Insert, nil)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the refusal repeats it: %v", body, err)
		}
	}
}

// What a gate would not set is refused where it is configured, field by field.
func TestHeadersOfTheGatewayAreNotConfigured(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]any{
		`{"name":"kvm-lookup","config":{"map":"m","key_name":"k","header":"X-Value"}}`:          nil,
		`{"name":"kvm-lookup","config":{"map":"m","key_name":"k","header":"content_length"}}`:   map[string]any{"config": map[string]any{"header": "'content_length' is a header that the gateway itself speaks by"}},
		`{"name":"kvm-lookup","config":{"map":"m","key_name":"k","header":"X-Consumer-Tier"}}`:  map[string]any{"config": map[string]any{"header": "'X-Consumer-Tier' is a header that the gateway itself speaks by"}},
		`{"name":"kvm-lookup","config":{"map":"m","key_name":"k","header":"a b"}}`:              map[string]any{"config": map[string]any{"header": "bad header name 'a b', allowed characters are A-Z, a-z, 0-9, '_', and '-'"}},
		`{"name":"correlation-id","config":{"header_name":"X-Anonymous-Consumer"}}`:             map[string]any{"config": map[string]any{"header_name": "'X-Anonymous-Consumer' is a header that the gateway itself speaks by"}},
		`{"name":"rate-limiting","config":{"minute":1,"limit_by":"header","header_name":"TE"}}`: nil, // read and not written
	} {
		s := newSchema()
		_, err := s.Build(entity(t, s, "plugins"), nil, parseJSON(t, body), schema.Insert, nil)
		violations, refused := errors.AsType[*schema.Violations](err)
		if refused != (want != nil) || err != nil && !refused {
			t.Errorf("%s: %v", body, err)
		} else if refused && !cmp.Equal(want, any(violations.Fields())) {
			t.Errorf("%s: (-want +got)\n%s", body, cmp.Diff(want, any(violations.Fields())))
		}
	}
}

// What kvm-lookup would never find a key by is refused where it is configured.
func TestSourcesOfKeys(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		`"key_name":"k"`: "", `"key_from":"header","key_name":"X-Key"`: "", `"key_from":"query","key_name":"a b"`: "", `"key_from":"client_ip"`: "",
		`"key_from":"path_capture","key_name":"tenant"`: "", `"key_from":"path_capture","key_name":"2"`: "",
		`"key_from":"header"`:                       "key_from 'header' needs key_name",
		`"key_from":"client_ip","key_name":"k"`:     "key_from 'client_ip' takes no key_name",
		`"key_from":"header","key_name":"a b"`:      "key_name is not the name of a header",
		`"key_from":"path_capture","key_name":"0"`:  "key_name is no capture: a name, or a number from 1",
		`"key_from":"path_capture","key_name":"-1"`: "key_name is no capture: a name, or a number from 1",
		`"key_name":"k","on_missing":"default"`:     "on_missing 'default' needs default_value",
	} {
		s := newSchema()
		_, err := s.Build(entity(t, s, "plugins"), nil, parseJSON(t, `{"name":"kvm-lookup","config":{"map":"m","header":"X-Value",`+source+`}}`), schema.Insert, nil)
		got := ""
		if violations, refused := errors.AsType[*schema.Violations](err); refused {
			got, _ = violations.Fields()["config"].(string)
		}
		if got != want || (err != nil) != (want != "") {
			t.Errorf("%s: %v", source, err)
		}
	}
}

func TestResolveConfig(t *testing.T) {
	t.Parallel()
	s := newSchema()
	values := map[string]string{"{vault://env/url}": "http://log.test/s3cret", "{kvm://log/key}": "{vault://env/url}", "{vault://env/bad}": "s3cret\x00"}
	asked := 0
	lookup := func(reference string) (string, error) {
		asked++
		if value, ok := values[reference]; ok {
			return value, nil
		}
		return "", errors.New("there is none")
	}
	config := func(endpoint, header string) []byte {
		m := insert(t, s, "plugins", `{"name":"http-log","config":{"http_endpoint":"`+endpoint+`","headers":{"X-Key":"`+header+`"}}}`).(*configv1.Plugin)
		return m.GetConfig()
	}
	resolved, err := s.ResolveConfig("http-log", config("{vault://env/url}", "{kvm://log/key}"), lookup)
	var m pluginv1.HttpLog
	if err != nil || proto.Unmarshal(resolved, &m) != nil || m.GetHttpEndpoint() != "http://log.test/s3cret" || asked != 2 {
		t.Errorf("resolved to %q after %d questions: %v", m.GetHttpEndpoint(), asked, err)
	}
	if got := m.GetHeaders().GetValues()["X-Key"]; got != "{vault://env/url}" {
		t.Errorf("a value in the form of a reference became %q", got)
	}
	plain := config("http://log.test", "x {vault://env/url}")
	if same, err := s.ResolveConfig("http-log", plain, lookup); err != nil || string(same) != string(plain) || asked != 2 {
		t.Errorf("a configuration without references changed: %v", err)
	}
	for header, want := range map[string]string{"{vault://env/none}": "config.headers: there is none", "{vault://env/bad}": "config.headers: what the reference leads to is no value for it"} {
		if _, err := s.ResolveConfig("http-log", config("http://h", header), lookup); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %q", header, err, want)
		}
	}
	for name, given := range map[string][]byte{"unknown": []byte("\x00"), "http-log": {0x0A, 0x7F, 'x'}, "acl": plain} {
		if same, err := s.ResolveConfig(name, given, lookup); err != nil || string(same) != string(given) {
			t.Errorf("%s: %q, %v", name, same, err)
		}
	}
}
