package app

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/compile"
	"github.com/keepgate/keepgate/dataplane/plugin/all"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
)

const kept = "a-kept-that-no-table-may-hold"

// placed is a message as a data plane gets it.
func placed(t *testing.T, m proto.Message) []byte {
	t.Helper()
	body, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return protowire.AppendString(protowire.AppendTag(body, placedField, protowire.BytesType), "team-a")
}

func configured(t *testing.T, name string, config proto.Message) *configv1.Plugin {
	t.Helper()
	body, err := proto.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	return &configv1.Plugin{Id: proto.String("p"), Name: &name, Route: &configv1.Ref{Id: "r"}, Config: body}
}

func TestWhatIsWithheld(t *testing.T) {
	t.Parallel()
	w := newWithholding(schema.New(plugins.All()), all.Kinds(all.Options{Prefix: t.TempDir()}))
	tests := map[string]struct {
		kind     string
		body     proto.Message
		withheld bool
		names    bool // parameters are left of its configuration
	}{
		"a route":              {"routes", &configv1.Route{Id: proto.String("r"), Name: proto.String("n")}, false, false},
		"a service":            {"services", &configv1.Service{Id: proto.String("s")}, false, false},
		"a consumer":           {"consumers", &configv1.Consumer{Id: proto.String("c")}, false, false},
		"a credential":         {"jwt_secrets", &configv1.JwtSecret{Id: proto.String("j"), Secret: proto.String(kept)}, true, false},
		"a certificate":        {"certificates", &configv1.Certificate{Id: proto.String("c"), Key: proto.String(kept)}, true, false},
		"an entry of a map":    {"key_value_entries", &configv1.KeyValueEntry{Id: proto.String("e"), Value: proto.String(kept)}, true, false},
		"something unknown":    {"secrets_of_tomorrow", &configv1.JwtSecret{Id: proto.String("j"), Secret: proto.String(kept)}, true, false},
		"a plugin that checks": {"plugins", configured(t, "key-auth", &pluginv1.KeyAuth{}), true, false},
		"a plugin that takes":  {"plugins", configured(t, "key-auth", &pluginv1.KeyAuth{KeyNames: &configv1.StringArray{Values: []string{"apikey"}}}), true, true},
		"a plugin that counts": {"plugins", configured(t, "rate-limiting", &pluginv1.RateLimiting{Minute: proto.Float64(5)}), false, false},
		"a plugin with a secret": {"plugins", configured(t, "rate-limiting", &pluginv1.RateLimiting{
			Minute: proto.Float64(5), Redis: &pluginv1.Redis{Password: proto.String(kept)},
		}), true, false},
		"a plugin that refers to one": {"plugins", configured(t, "request-transformer", &pluginv1.RequestTransformer{Add: &pluginv1.TransformedRequest{
			Headers: &configv1.StringArray{Values: []string{"x:{vault://env/" + kept + "}"}},
		}}), true, false},
		"a plugin that is not known": {"plugins", &configv1.Plugin{Id: proto.String("p"), Name: proto.String("nope"), Config: []byte("x")}, false, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			was := compile.Entity{Kind: test.kind, ID: "i", Body: placed(t, test.body)}
			is := w.of(was)
			if is.Withheld != test.withheld || is.Locked != test.withheld {
				t.Fatalf("withheld %v, locked %v; want %v", is.Withheld, is.Locked, test.withheld)
			}
			if !test.withheld && !bytes.Equal(is.Body, was.Body) {
				t.Error("its body is another one")
			}
			if test.withheld && (bytes.Contains(is.Body, []byte(kept)) || !bytes.Contains(is.Body, []byte("team-a"))) {
				t.Errorf("what is left of it: %q", is.Body)
			}
			if test.kind == "plugins" && test.withheld {
				var m configv1.Plugin
				if err := proto.Unmarshal(is.Body, &m); err != nil || m.GetRoute().GetId() != "r" || bytes.Contains(m.GetConfig(), []byte("apikey")) != test.names || len(m.GetConfig()) != 0 && !test.names {
					t.Errorf("where it runs: %v, %v", &m, err)
				}
			}
		})
	}
}

func TestNamesAloneOfWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	for name, body := range map[string][]byte{"nothing": nil, "cut off": {0x0a, 0x09, 'x'}, "no field": {0x07}} {
		if left := namesAlone(body); left != nil {
			t.Errorf("%s: %x", name, left)
		}
	}
}
