package proxy_test

import (
	"bytes"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/compile"
	"github.com/keepgate/keepgate/dataplane/proxy"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
)

// spoil makes the text in the bytes of a message no UTF-8, which does not decode.
func spoil(t *testing.T, m proto.Message, text string) []byte {
	t.Helper()
	body, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(body, []byte(text)) {
		t.Fatalf("%q is not in the message", text)
	}
	return bytes.ReplaceAll(body, []byte(text), bytes.Repeat([]byte{0xFF}, len(text)))
}

func truncated(t *testing.T, m proto.Message, left int) []byte {
	t.Helper()
	body, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return body[:left]
}

// What cannot be decoded closes what it may have been for, and no more than that.
func TestUndecodableEntitiesFailClosed(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	guard := func(change func(*configv1.Plugin)) *configv1.Plugin {
		m := &configv1.Plugin{Name: new("key-auth"), InstanceName: new("SPOILED"), Config: []byte{}}
		change(m)
		return m
	}
	admin := func(change func(*configv1.Route)) *configv1.Route {
		m := &configv1.Route{Name: new("SPOILED"), Paths: array("/a/admin"), Protocols: set("http", "https"), Service: ref("s")}
		change(m)
		return m
	}
	onA := guard(func(m *configv1.Plugin) { m.Route = ref("a") })
	for name, test := range map[string]struct {
		kind string
		body []byte
		open map[string]int // target to status; "/a", "/a/admin" and "/b" are served otherwise
	}{
		"plugin of a route":              {"plugins", spoil(t, onA, "SPOILED"), map[string]int{"/a": 503, "/a/admin": 503, "/b": 200}},
		"plugin whose name is lost":      {"plugins", spoil(t, onA, "key-auth"), map[string]int{"/a": 503, "/a/admin": 503, "/b": 200}},
		"plugin whose route is lost":     {"plugins", spoil(t, guard(func(m *configv1.Plugin) { m.Route = ref("SPOILED") }), "SPOILED"), map[string]int{"/a": 503, "/b": 503, "/mine": 503}},
		"plugin of a service":            {"plugins", spoil(t, guard(func(m *configv1.Plugin) { m.Service = ref("s2") }), "SPOILED"), map[string]int{"/a": 200, "/b": 503}},
		"global plugin":                  {"plugins", spoil(t, guard(func(*configv1.Plugin) {}), "SPOILED"), map[string]int{"/a": 503, "/b": 503, "/mine": 401}},
		"plugin of a lost route":         {"plugins", spoil(t, guard(func(m *configv1.Plugin) { m.Route = ref("gone") }), "SPOILED"), map[string]int{"/a": 200, "/b": 200}},
		"plugin that is switched off":    {"plugins", spoil(t, guard(func(m *configv1.Plugin) { m.Enabled = new(false) }), "SPOILED"), map[string]int{"/a": 200, "/b": 200}},
		"plugin for a consumer":          {"plugins", spoil(t, guard(func(m *configv1.Plugin) { m.Consumer = ref("alice") }), "SPOILED"), map[string]int{"/a": 200, "/b": 200}},
		"plugin cut off":                 {"plugins", truncated(t, onA, 3), map[string]int{"/a": 503, "/b": 503}},
		"plugin of junk":                 {"plugins", []byte{0xFF}, map[string]int{"/a": 503, "/b": 503, "/nothing": 404}},
		"route with its conditions":      {"routes", spoil(t, admin(func(*configv1.Route) {}), "SPOILED"), map[string]int{"/a": 200, "/a/admin/x": 503, "/b": 200}},
		"route whose path is lost":       {"routes", spoil(t, admin(func(m *configv1.Route) { m.Paths = array("/SPOILED") }), "SPOILED"), map[string]int{"/a": 503, "/b": 503, "/nothing": 503}},
		"route whose path is lost, host": {"routes", spoil(t, admin(func(m *configv1.Route) { m.Paths, m.Hosts = array("/SPOILED"), array("other.test") }), "SPOILED"), map[string]int{"/a": 200, "/b": 200}},
		"route of junk":                  {"routes", []byte{0xFF}, map[string]int{"/a": 503, "/b": 503}},
		"route of a stream":              {"routes", spoil(t, admin(func(m *configv1.Route) { m.Protocols = set("tcp") }), "SPOILED"), map[string]int{"/a/admin": 200, "/b": 200}},
		"upstream by name":               {"upstreams", spoil(t, &configv1.Upstream{Name: new("localhost"), HostHeader: new("SPOILED")}, "SPOILED"), map[string]int{"/a": 200, "/b": 503}},
		"upstream without a name":        {"upstreams", spoil(t, &configv1.Upstream{Name: new("SPOILED")}, "SPOILED"), map[string]int{"/a": 200, "/b": 503}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, proxy.Options{})
			list := []entity{
				o.service("s"), o.service("s2", func(m *configv1.Service) { m.Host = new("localhost") }), route("a", "s"), route("b", "s2"),
				consumer("alice", "Alice"), route("mine", "s"), plug(t, "own", "key-auth", &pluginv1.KeyAuth{KeyNames: array("apikey")}, onRoute("mine")),
			}
			base := entities(t, list)
			compiled, quarantined := g.compiler.Compile(func(yield func(compile.Entity) bool) {
				base(yield)
				yield(compile.Entity{Kind: test.kind, ID: "spoiled", Body: test.body})
			})
			g.holder.Swap(compiled)
			reported := false
			for _, q := range quarantined {
				reported = reported || q.Kind == test.kind && q.ID == "spoiled" && strings.HasPrefix(q.Reason, "its bytes cannot be decoded")
			}
			if !reported {
				t.Errorf("not reported: %v", quarantined)
			}
			for target, want := range test.open {
				if got := g.do(t, "GET", target, ""); got.status != want {
					t.Errorf("%s: %d, want %d", target, got.status, want)
				}
			}
		})
	}
}
