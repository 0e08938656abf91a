package compile_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/keepgate/keepgate/dataplane/compile"
	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// grouped is a configuration with two consumers, of whom ada is in two groups.
func grouped(t testing.TB) config {
	c := config{}
	for _, name := range []string{"ada", "bob"} {
		c.put(t, "consumers", name, &configv1.Consumer{Username: &name})
	}
	for id, name := range map[string]string{"g1": "silver", "g2": "gold"} {
		c.put(t, "consumer_groups", id, &configv1.ConsumerGroup{Name: &name})
		c.put(t, "consumer_group_consumers", "ada-"+id, member("ada", id))
	}
	return c
}

func member(consumer, group string) *configv1.ConsumerGroupMember {
	return &configv1.ConsumerGroupMember{Consumer: &configv1.Ref{Id: consumer}, ConsumerGroup: &configv1.Ref{Id: group}}
}

// spoiled is body with a field behind it that cannot be decoded.
func spoiled(body []byte, number protowire.Number) []byte {
	return protowire.AppendBytes(protowire.AppendTag(slices.Clone(body), number, protowire.BytesType), []byte{0xff})
}

func TestMemberships(t *testing.T) {
	t.Parallel()
	gold, silver := exchange.Group{ID: "g2", Name: "gold"}, exchange.Group{ID: "g1", Name: "silver"}
	both := map[string][]exchange.Group{"ada": {gold, silver}, "bob": nil}
	const consumerField, groupField, nameField = 5, 6, 5
	tests := map[string]struct {
		change func(t *testing.T, c config)
		want   map[string][]exchange.Group // of the consumers that are known
		faults []string
	}{
		"groups are in the order of their names": {func(*testing.T, config) {}, both, nil},
		"a group that does not exist": {
			func(t *testing.T, c config) { c.put(t, "consumer_group_consumers", "m", member("bob", "g3")) },
			both,
			[]string{"consumer_group_consumers/m"},
		},
		"a consumer that does not exist": {
			func(t *testing.T, c config) { c.put(t, "consumer_group_consumers", "m", member("eve", "g1")) },
			both,
			[]string{"consumer_group_consumers/m"},
		},
		"a group whose name can be read": {func(_ *testing.T, c config) {
			c[[2]string{"consumer_groups", "g1"}] = spoiled(c[[2]string{"consumer_groups", "g1"}], 4)
		}, both, []string{"consumer_groups/g1"}},
		"a group without a name": {func(_ *testing.T, c config) {
			c[[2]string{"consumer_groups", "g1"}] = spoiled(nil, nameField)
		}, map[string][]exchange.Group{"bob": nil}, []string{"consumer_groups/g1", "consumers/ada"}},
		"a member that can be read": {func(_ *testing.T, c config) {
			c[[2]string{"consumer_group_consumers", "ada-g1"}] = spoiled(c[[2]string{"consumer_group_consumers", "ada-g1"}], 4)
		}, both, []string{"consumer_group_consumers/ada-g1"}},
		"a member of some group": {func(_ *testing.T, c config) {
			c[[2]string{"consumer_group_consumers", "ada-g1"}] = spoiled(c[[2]string{"consumer_group_consumers", "ada-g1"}], groupField)
		}, map[string][]exchange.Group{"bob": nil}, []string{"consumer_group_consumers/ada-g1", "consumers/ada"}},
		"some consumer of a group": {func(_ *testing.T, c config) {
			c[[2]string{"consumer_group_consumers", "ada-g1"}] = spoiled(c[[2]string{"consumer_group_consumers", "ada-g1"}], consumerField)
		}, map[string][]exchange.Group{}, []string{"consumer_group_consumers/ada-g1"}},
		"a member of which nothing is known": {func(_ *testing.T, c config) {
			c[[2]string{"consumer_group_consumers", "ada-g1"}] = []byte{0xff}
		}, map[string][]exchange.Group{}, []string{"consumer_group_consumers/ada-g1"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := grouped(t)
			compiler := newCompiler()
			compiler.Compile(c.all)
			test.change(t, c)
			compiler.Compile(c.all)
			compiled, quarantined := compiler.Compile(c.all) // nothing changed, and what is at fault is still said
			got := map[string][]exchange.Group{}
			for _, name := range []string{"ada", "bob"} {
				if known := compiled.Plugins.Consumers.WithUsername(name); known != nil {
					got[name] = known.Groups
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			var faults []string
			for _, q := range quarantined {
				faults = append(faults, q.Kind+"/"+q.ID)
			}
			slices.Sort(faults)
			if diff := cmp.Diff(test.faults, faults); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// answers runs the access phase of the only route for somebody and returns the status, 0 when nothing was answered.
func answers(c config, scheme, consumer string) int {
	compiled, _ := newCompiler().Compile(c.locked)
	ex := new(exchange.Exchange)
	ex.Request.Method, ex.Request.Scheme, ex.Request.Host, ex.Request.Path = "GET", scheme, "a.test", "/"
	match, found := compiled.Router.Match(&ex.Request)
	if !found {
		return 404
	}
	ex.NeedSlots(compiled.Plugins.Slots)
	if known := compiled.Plugins.Consumers.ByID(consumer); known != nil {
		plugin.Identify(ex, known, plugin.Credential{ID: "k"})
	}
	match.Route.Plan.Access(ex, &compiled.Plugins)
	return ex.Response.Status
}

// What a plugin of a group that cannot be decoded was for is closed, and nothing else.
func TestPluginsOfGroups(t *testing.T) {
	t.Parallel()
	stop := func(status string) *configv1.Plugin {
		return &configv1.Plugin{Name: new("request-termination"), Config: []byte("\x08" + status), ConsumerGroup: &configv1.Ref{Id: "g1"}}
	}
	const teapot, gone = "\xa2\x03", "\x9a\x03" // 418, 410
	number := func(name protoreflect.Name) protowire.Number {
		return (&configv1.Plugin{}).ProtoReflect().Descriptor().Fields().ByName(name).Number()
	}
	tests := map[string]struct {
		change   func(t *testing.T, c config)
		ada, bob int
	}{
		"of a group": {func(t *testing.T, c config) { c.put(t, "plugins", "p", stop(teapot)) }, 418, 0},
		"of a lost group": {func(t *testing.T, c config) {
			m := stop(teapot)
			m.ConsumerGroup.Id = "g3"
			c.put(t, "plugins", "p", m)
		}, 0, 0},
		"the first group by name counts": {func(t *testing.T, c config) {
			c.put(t, "plugins", "p", stop(teapot))
			other := stop(gone)
			other.ConsumerGroup.Id = "g2"
			c.put(t, "plugins", "q", other)
		}, 410, 0},
		"the consumer comes first": {func(t *testing.T, c config) {
			c.put(t, "plugins", "p", stop(teapot))
			own := stop(gone)
			own.ConsumerGroup, own.Consumer = nil, &configv1.Ref{Id: "ada"}
			c.put(t, "plugins", "q", own)
		}, 410, 0},
		"switched off": {func(t *testing.T, c config) { m := stop(teapot); m.Enabled = new(false); c.put(t, "plugins", "p", m) }, 0, 0},
		"whose tags cannot be decoded": {func(t *testing.T, c config) {
			c[[2]string{"plugins", "p"}] = spoiled(marshal(t, stop(teapot)), number("tags"))
		}, 503, 0},
		"whose group cannot be decoded": {func(t *testing.T, c config) {
			c[[2]string{"plugins", "p"}] = spoiled(marshal(t, stop(teapot)), number("consumer_group"))
		}, 503, 503},
		"that nobody knows": {func(t *testing.T, c config) { m := stop(teapot); m.Name = new("nonsense"); c.put(t, "plugins", "p", m) }, 503, 0},
		"that is locked":    {func(t *testing.T, c config) { c.put(t, "plugins", "locked", stop(teapot)) }, 503, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := grouped(t)
			c.put(t, "routes", "r", &configv1.Route{Paths: &configv1.StringArray{Values: []string{"/"}}})
			test.change(t, c)
			if ada, bob := answers(c, "http", "ada"), answers(c, "http", "bob"); ada != test.ada || bob != test.bob {
				t.Errorf("ada gets %d, bob %d; want %d and %d", ada, bob, test.ada, test.bob)
			}
		})
	}
}

// A plugin is there for requests over its own protocols. Where it is not, the next less specific one is.
func TestProtocolsOfPlugins(t *testing.T) {
	t.Parallel()
	c := config{}
	c.put(t, "routes", "r", &configv1.Route{Paths: &configv1.StringArray{Values: []string{"/"}}})
	stop := func(status string, protocols ...string) *configv1.Plugin {
		return &configv1.Plugin{Name: new("request-termination"), Config: []byte("\x08" + status), Protocols: &configv1.StringSet{Values: protocols}}
	}
	ofRoute := stop("\xa2\x03", "https", "grpc")
	ofRoute.Route = &configv1.Ref{Id: "r"}
	c.put(t, "plugins", "p", ofRoute)
	check := func(scheme string, want int) {
		t.Helper()
		if got := answers(c, scheme, ""); got != want {
			t.Errorf("over %s: %d, want %d", scheme, got, want)
		}
	}
	check("http", 0)
	check("https", 418)
	c.put(t, "plugins", "q", stop("\x9a\x03", "http", "tcp"))
	check("http", 410)
	check("https", 418)
	c.put(t, "plugins", "q", stop("\x9a\x03", "tcp", "tls"))
	check("http", 0)
	c.put(t, "routes", "r", &configv1.Route{Paths: &configv1.StringArray{Values: []string{"/"}}, Protocols: &configv1.StringSet{Values: []string{"grpc", "grpcs"}}})
	check("http", 418)
	check("https", 0)
	// A route of http takes requests over TLS: plugins for either see them.
	for _, protocol := range []string{"http", "https"} {
		c := config{}
		c.put(t, "plugins", "p", stop("\xa2\x03", protocol))
		c.put(t, "routes", "r", &configv1.Route{Paths: &configv1.StringArray{Values: []string{"/"}}, Protocols: &configv1.StringSet{Values: []string{"http"}}})
		if got := answers(c, "https", ""); got != 418 {
			t.Errorf("a plugin for %s, over https by a route of http: %d", protocol, got)
		}
	}
}

func (c config) locked(yield func(compile.Entity) bool) {
	c.all(func(e compile.Entity) bool {
		e.Locked = strings.HasPrefix(e.ID, "locked")
		return yield(e)
	})
}
