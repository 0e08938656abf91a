package proxy_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/compile"
	"github.com/keepgate/keepgate/dataplane/proxy"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// What the control plane cannot open and this node never held closes what it protects, as far as that is known.
func TestLockedEntitiesFailClosed(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	plugin := func(change func(*configv1.Plugin)) []byte {
		m := &configv1.Plugin{Name: new("key-auth")}
		change(m)
		body, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	for name, test := range map[string]struct {
		kind string
		body []byte
		open map[string]int // "/a" and "/b" are served otherwise
	}{
		"plugin of a route":           {"plugins", plugin(func(m *configv1.Plugin) { m.Route = ref("a") }), map[string]int{"/a": 503, "/b": 200}},
		"plugin that is switched off": {"plugins", plugin(func(m *configv1.Plugin) { m.Route, m.Enabled = ref("a"), new(false) }), map[string]int{"/a": 200, "/b": 200}},
		"plugin of who knows what":    {"plugins", nil, map[string]int{"/a": 503, "/b": 503}},
		"route of who knows what":     {"routes", nil, map[string]int{"/a": 503, "/b": 503}},
		"credential":                  {"keyauth_credentials", nil, map[string]int{"/a": 200, "/b": 200}},
		"fingerprint key":             {"fingerprint_keys", nil, map[string]int{"/a": 200, "/b": 200}},
		"certificate":                 {"certificates", nil, map[string]int{"/a": 200, "/b": 200}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, proxy.Options{})
			base := entities(t, []entity{o.service("s"), route("a", "s"), route("b", "s")})
			for _, locked := range []bool{true, false, true} { // the same bytes, when it is published and kept again
				compiled, quarantined := g.compiler.Compile(func(yield func(compile.Entity) bool) {
					base(yield)
					if locked {
						yield(compile.Entity{Kind: test.kind, ID: "locked", Body: test.body, Locked: true})
					}
				})
				g.holder.Swap(compiled)
				if reported := len(quarantined) == 1 && quarantined[0].ID == "locked" && quarantined[0].Kind == test.kind; reported != locked {
					t.Errorf("locked: %v, reported: %v", locked, quarantined)
				}
				for target, want := range test.open {
					if !locked {
						want = 200
					}
					if got := g.do(t, "GET", target, ""); got.status != want {
						t.Errorf("locked: %v, %s: %d, want %d", locked, target, got.status, want)
					}
				}
			}
		})
	}
}
