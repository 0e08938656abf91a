// Package plugintest holds what every plugin promises, as a suite, and a gate to drive plugins with real requests.
//
// # The suite
//
// Each plugin's tests call [Suite] once, from a test that is not parallel (allocations are counted):
//
//	func TestContract(t *testing.T) {
//		plugintest.Suite(t, plugintest.Plugin{
//			Kind:     acl.Kind{},
//			Config:   `{"allow":["staff"]}`,
//			Entities: `consumers: [{username: al, acls: [{group: staff}]}]`,
//			Refused:  &plugintest.Refused{Status: 403, Message: "You cannot consume this service"},
//		})
//	}
//
// It checks, of the plugin as it is configured there: that shared/plugins lists it with the same name, priority and
// protocols; that New refuses bytes that are no message, survives any bytes, and starts no goroutine; that instances take part in a
// phase; that requests pass on HTTP/1.1 and HTTP/2, also many at once (run it with -race); that answers of its own have the gate's
// form; that nothing of an exchange is kept (under -race, where dead arenas are overwritten); how often a request allocates;
// that what the marks call encrypted shows in no log; that nothing runs when the gate has stopped; that README.md exists, names
// every field. (The test of plugin/all keeps its section on secrets in step with the marks.)
//
// Where the plugin writes files or logs, give it a fresh [Log] and t.TempDir.
//
// # The gate
//
// [New] makes a gate of the compiler, the proxy and both engines, with an origin that answers with what it got:
//
//	g := plugintest.New(t, keyauth.Kind{})
//	g.Configure(`
//	services:
//	- name: shop
//	  url: {{origin}}
//	  routes: [{name: r, paths: [/]}]
//	plugins: [{name: key-auth}]
//	consumers: [{username: al, keyauth_credentials: [{key: secret}]}]
//	`)
//	reply := g.Get("/orders", "apikey", "secret")   // reply.Status, reply.Header, reply.Body
//	echo := reply.Echo(t)                           // what the origin got: echo.Method, URI, Host, Header, Body
//	reply = g.Do(plugintest.Request{Engine: plugintest.HTTP2, Method: "POST", Target: "/", Body: "x"})
//
// A configuration goes the way that it goes in production: a declarative file, entities with every default, the
// one-way forms that a control plane sends, a configset, the compiler. [Gate.Configure] fails the test when something is
// quarantined; [Gate.TryConfigure] tells. [Gate.Refer] says what a {vault://…} reference leads to.
package plugintest
