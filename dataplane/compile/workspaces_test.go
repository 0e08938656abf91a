package compile_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/compile"
	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/table"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
)

// place says of an entity which workspace it belongs to, as the control plane does.
func (c config) place(t *testing.T, kind, id, workspace string) {
	t.Helper()
	key := [2]string{kind, id}
	body, err := proto.MarshalOptions{}.MarshalAppend(c[key], &syncv1.Placed{Workspace: &workspace})
	if err != nil {
		t.Fatal(err)
	}
	c[key] = body
}

// twin has the same in two workspaces: a route, its service, an upstream of the same name, a consumer of the same name.
func twin(t *testing.T) config {
	t.Helper()
	c := config{}
	for _, workspace := range []string{"default", "sales"} {
		at := func(kind, id string, m proto.Message) {
			c.put(t, kind, id+"-"+workspace, m)
			c.place(t, kind, id+"-"+workspace, workspace)
		}
		at("services", "s", &configv1.Service{Name: new("s"), Protocol: new("http"), Host: new("up"), Port: new(int64(80))})
		at("routes", "r", &configv1.Route{Name: new("r"), Hosts: &configv1.StringArray{Values: []string{workspace + ".test"}}, Service: &configv1.Ref{Id: "s-" + workspace}})
		at("consumers", "c", &configv1.Consumer{Username: new("bob")})
	}
	return c
}

func homeRoute(t *testing.T, made *table.Table, workspace string) *table.Route {
	t.Helper()
	ex := new(exchange.Exchange)
	ex.Request.Method, ex.Request.Scheme, ex.Request.Host, ex.Request.Path = "GET", "http", workspace+".test", "/"
	match, found := made.Router.Match(&ex.Request)
	if !found {
		t.Fatalf("there is no route of %s", workspace)
	}
	return match.Route
}

// status is what the plugins of a workspace's route answer, 0 when nothing.
func status(t *testing.T, made *table.Table, workspace string) int {
	t.Helper()
	route, ex := homeRoute(t, made, workspace), new(exchange.Exchange)
	ex.Request.Method, ex.Request.Scheme, ex.Request.Host, ex.Request.Path = "GET", "http", workspace+".test", "/"
	ex.NeedSlots(made.Plugins.Slots)
	route.Plan.Access(ex, made.Runtime(route))
	return ex.Response.Status
}

func TestWorkspacesAreApart(t *testing.T) {
	t.Parallel()
	compiler := newCompiler()
	c := twin(t)
	compiled := func() *table.Table {
		t.Helper()
		made, quarantined := compiler.Compile(c.all)
		if len(quarantined) > 0 {
			t.Fatalf("%v", quarantined)
		}
		return made
	}
	made := compiled()
	for _, workspace := range []string{"default", "sales"} {
		route := homeRoute(t, made, workspace)
		if route.Fault != "" || route.Service == nil || route.Service.ID != "s-"+workspace {
			t.Errorf("the route of %s: %+v", workspace, route)
		}
		if bob := made.Runtime(route).Consumers.WithUsername("bob"); bob == nil || bob.ID != "c-"+workspace {
			t.Errorf("bob of %s is %+v", workspace, bob)
		}
		if known := made.Runtime(route).Consumers.ByID("c-default"); (known != nil) != (workspace == "default") {
			t.Errorf("in %s the other's consumer is known", workspace)
		}
	}
	// An upstream of one takes no traffic of the other's service, whose host has its name.
	c.put(t, "upstreams", "u", &configv1.Upstream{Name: new("UP")})
	c.place(t, "upstreams", "u", "sales")
	made = compiled()
	for workspace, single := range map[string]bool{"default": true, "sales": false} {
		if got := homeRoute(t, made, workspace).Service.Backends.Upstream().Spec().Single; got != single {
			t.Errorf("the service of %s has a host of its own: %v", workspace, got)
		}
	}
	// A plugin without a scope is its workspace's.
	c.put(t, "plugins", "stop", &configv1.Plugin{Name: new("request-termination"), Config: []byte("\x08\xa2\x03")})
	c.place(t, "plugins", "stop", "sales")
	made = compiled()
	if a, b := status(t, made, "default"), status(t, made, "sales"); a != 0 || b != 418 {
		t.Errorf("default answers %d, sales %d", a, b)
	}
	if !made.Unmatched.Empty() {
		t.Error("it is for requests without a route, too")
	}
	// What went is gone, and the workspace with it.
	for _, key := range [][2]string{{"plugins", "stop"}, {"upstreams", "u"}, {"services", "s-sales"}, {"routes", "r-sales"}, {"consumers", "c-sales"}} {
		delete(c, key)
	}
	if made = compiled(); status(t, made, "default") != 0 {
		t.Error("the rest does not serve")
	}
}

// TestLostOfAWorkspace: what cannot be read closes its own workspace, and all of them where that cannot be read either.
func TestLostOfAWorkspace(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		body           []byte
		locked, placed bool
		home           int
	}{
		"locked, in sales":             {nil, true, true, 0},
		"undecodable, in sales":        {spoiled(nil, (&configv1.Plugin{}).ProtoReflect().Descriptor().Fields().ByName("route").Number()), false, true, 0},
		"locked, nobody knows where":   {nil, true, false, 503},
		"torn, nobody knows where":     {[]byte{0xff}, false, false, 503},
		"torn behind where it belongs": {[]byte("\x1a\xff"), false, true, 503},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := twin(t)
			key := [2]string{"plugins", "p"}
			if c[key] = test.body; test.placed {
				c.place(t, "plugins", "p", "sales")
			}
			made, _ := newCompiler().Compile(func(yield func(compile.Entity) bool) {
				for key, body := range c {
					if !yield(compile.Entity{Kind: key[0], ID: key[1], Body: body, Locked: test.locked && key[0] == "plugins"}) {
						return
					}
				}
			})
			if a, b := status(t, made, "default"), status(t, made, "sales"); a != test.home || b == 0 {
				t.Errorf("default answers %d, want %d; sales %d", a, test.home, b)
			}
		})
	}
}
