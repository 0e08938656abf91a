package plugin_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
)

// kind is a plugin that notes its turn in a header.
type kind struct {
	name     string
	priority int
}

func (k kind) Name() string                      { return k.name }
func (k kind) Priority() int                     { return k.priority }
func (kind) New([]byte, plugin.Env) (any, error) { return nil, nil }

// note is an instance.
type note struct{ text, identify string }

func (n note) Access(ex *exchange.Exchange, _ *plugin.Runtime) {
	ex.Request.Header.Add("Ran", n.text)
	if n.identify != "" {
		who := &plugin.Consumer{ID: n.identify}
		if n.identify == "alice" {
			who.Groups = []exchange.Group{{ID: "0", Name: "without plugins"}, {ID: "1", Name: "a"}, {ID: "2", Name: "b"}}
		}
		plugin.Identify(ex, who, plugin.Credential{ID: "k"})
	}
}

func (n note) Log(ex *exchange.Exchange, _ *plugin.Runtime) { ex.Request.Header.Add("Logged", n.text) }

func instance(name string, number, priority int, text, identify string) *plugin.Instance {
	return plugin.NewInstance(kind{name, priority}, number, note{text, identify})
}

func run(scopes []plugin.Scopes, kinds int) (ran, logged []string, ex *exchange.Exchange) {
	plan := plugin.NewPlan(plugin.HTTP|plugin.HTTPS, scopes)
	on := plugin.NewRuntime(plugin.NewConsumers(nil), make([]any, kinds))
	ex = new(exchange.Exchange)
	ex.NeedSlots(on.Slots)
	plan.Access(ex, &on)
	plan.Log(ex, &on)
	for value := range ex.Request.Header.Values("Ran") {
		ran = append(ran, value)
	}
	for value := range ex.Request.Header.Values("Logged") {
		logged = append(logged, value)
	}
	return ran, logged, ex
}

// The most specific scope wins, in Kong Enterprise's order. Of several groups it is the first by name.
func TestScopePrecedence(t *testing.T) {
	t.Parallel()
	var full plugin.Scopes
	limit := func(text string) *plugin.Instance { return instance("limit", 1, 900, text, "") }
	by := func(scope *map[string]*plugin.Instance, text string, ids ...string) (string, func()) {
		*scope = map[string]*plugin.Instance{}
		for _, id := range ids {
			(*scope)[id] = limit(text + strings.TrimPrefix(id, "alice"))
		}
		return text + strings.TrimPrefix(ids[0], "alice"), func() { delete(*scope, ids[0]) }
	}
	plain := func(scope **plugin.Instance, text string) (string, func()) {
		*scope = limit(text)
		return text, func() { *scope = nil }
	}
	type level struct {
		want string
		drop func()
	}
	var levels []level
	add := func(want string, drop func()) { levels = append(levels, level{want, drop}) }
	groups := func(scope *map[string]*plugin.Instance, text string) {
		add(by(scope, text, "1", "2"))
		add(text+"2", func() { *scope = nil })
	}
	add(by(&full.RouteServiceConsumer, "crs", "alice"))
	groups(&full.RouteServiceGroup, "grs")
	add(by(&full.RouteConsumer, "cr", "alice"))
	add(by(&full.ServiceConsumer, "cs", "alice"))
	groups(&full.RouteGroup, "gr")
	groups(&full.ServiceGroup, "gs")
	add(plain(&full.RouteService, "rs"))
	add(by(&full.Consumer, "c", "alice"))
	groups(&full.Group, "g")
	add(plain(&full.Route, "r"))
	add(plain(&full.Service, "s"))
	add(plain(&full.Global, "global"))
	plainly := map[string]bool{"rs": true, "r": true, "s": true, "global": true}
	for i, level := range levels {
		bob := ""
		for _, later := range levels[i:] {
			if bob == "" && plainly[later.want] {
				bob = later.want
			}
		}
		for consumer, wanted := range map[string]string{"alice": level.want, "bob": bob, "": bob} {
			auth := plugin.Scopes{Global: instance("auth", 0, 1000, "auth", consumer)}
			ran, logged, _ := run([]plugin.Scopes{full, auth}, 2)
			if diff := cmp.Diff([]string{"auth", wanted}, ran); diff != "" {
				t.Errorf("at %s, %q: %s", level.want, consumer, diff)
			}
			if diff := cmp.Diff(ran, logged); diff != "" {
				t.Errorf("at %s, %q: the log phase ran others: %s", level.want, consumer, diff)
			}
		}
		level.drop()
	}
	if ran, _, _ := run([]plugin.Scopes{full}, 2); ran != nil {
		t.Errorf("nothing is left, and %v ran", ran)
	}
}

// A plugin that ran before the consumer was known keeps the instance that ran, in the log phase too.
func TestConsumerScopesNeedTheConsumer(t *testing.T) {
	t.Parallel()
	early := plugin.Scopes{Global: instance("early", 1, 2000, "early for all", ""), Consumer: map[string]*plugin.Instance{"alice": instance("early", 1, 2000, "early for alice", "")}}
	auth := plugin.Scopes{Global: instance("auth", 0, 1000, "auth", "alice")}
	ran, logged, _ := run([]plugin.Scopes{auth, early}, 2)
	want := []string{"early for all", "auth"}
	if diff := cmp.Diff([][]string{want, want}, [][]string{ran, logged}); diff != "" {
		t.Error(diff)
	}
}

func TestOrder(t *testing.T) {
	t.Parallel()
	ran, _, _ := run([]plugin.Scopes{
		{Global: instance("a", 0, 10, "a", "")}, {Global: instance("b", 1, 10, "b", "")}, {Global: instance("z", 2, 5, "z", "")}, {Global: instance("high", 3, 11, "high", "")}, {},
	}, 4)
	if got := strings.Join(ran, " "); got != "high b a z" {
		t.Errorf("order %s", got)
	}
}

func TestBrokenInstancesRefuse(t *testing.T) {
	t.Parallel()
	for name, scopes := range map[string][]plugin.Scopes{
		"an unknown plugin runs first": {{Global: plugin.NewBroken("x", nil, -1, false)}, {Global: instance("a", 0, 10, "a", "")}},
		"one for a consumer runs last": {{Consumer: map[string]*plugin.Instance{"alice": plugin.NewBroken("x", nil, -1, true)}}, {Global: instance("auth", 0, 10, "auth", "alice")}},
		"a known one in its place":     {{Global: plugin.NewBroken("x", kind{"x", 20}, 0, false)}, {Global: instance("a", 1, 10, "a", "")}},
	} {
		ran, _, ex := run(scopes, 2)
		if ex.Response.Status != 503 || plugin.RefusalOf(ex) != plugin.Quarantined() || len(ran) > 0 && name != "one for a consumer runs last" {
			t.Errorf("%s: %d after %v", name, ex.Response.Status, ran)
		}
	}
	if _, _, ex := run([]plugin.Scopes{{Consumer: map[string]*plugin.Instance{"alice": plugin.NewBroken("x", nil, -1, true)}}, {Global: instance("auth", 0, 10, "auth", "bob")}}, 1); ex.Response.Status != 0 {
		t.Errorf("another consumer gets %d", ex.Response.Status)
	}
}

func TestIdentityHeaders(t *testing.T) {
	t.Parallel()
	ex := new(exchange.Exchange)
	for _, name := range []string{"X-Consumer-ID", "x_consumer_custom-id", "X-CONSUMER-USERNAME", "X-Consumer-Groups", "X-Credential-Identifier", "X_Anonymous_Consumer", "x-authenticated_groups", "X_Client-Cert-DN", "x-client-cert-san", "X-Consume", "X-Client-Cert", "X-Authenticated-Group"} {
		ex.Request.Header.Add(name, "forged")
	}
	plugin.StripIdentity(ex)
	plugin.Identify(ex, &plugin.Consumer{ID: "1", Username: "al\r\nX-Evil: 1"}, plugin.Credential{ID: "k", Identifier: "k"})
	got := map[string]string{}
	for name, value := range ex.Request.Header.All() {
		got[name] += value
	}
	want := map[string]string{
		"X-Consume": "forged", "X-Client-Cert": "forged", "X-Authenticated-Group": "forged",
		"X-Consumer-ID": "1", "X-Consumer-Username": "al  X-Evil: 1", "X-Credential-Identifier": "k",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
