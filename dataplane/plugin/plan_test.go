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
		plugin.Identify(ex, &plugin.Consumer{ID: n.identify}, plugin.Credential{ID: "k"})
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

// The most specific scope wins: route+service+consumer, route+consumer, service+consumer, route+service,
// consumer, then route, service, global, which the compiler has reduced to Rest.
func TestScopePrecedence(t *testing.T) {
	t.Parallel()
	by := func(text string) map[string]*plugin.Instance {
		return map[string]*plugin.Instance{"alice": instance("limit", 1, 900, text, "")}
	}
	full := plugin.Scopes{
		RouteServiceConsumer: by("rsc"), RouteConsumer: by("rc"), ServiceConsumer: by("sc"),
		RouteService: instance("limit", 1, 900, "rs", ""), Consumer: by("c"), Global: instance("limit", 1, 900, "rest", ""),
	}
	for i, want := range []string{"rsc", "rc", "sc", "rs", "c", "rest"} {
		for consumer, wanted := range map[string]string{"alice": want, "bob": map[bool]string{true: "rs", false: "rest"}[full.RouteService != nil]} {
			auth := plugin.Scopes{Global: instance("auth", 0, 1000, "auth", consumer)}
			ran, logged, _ := run([]plugin.Scopes{full, auth}, 2)
			if diff := cmp.Diff([]string{"auth", wanted}, ran); diff != "" {
				t.Errorf("step %d, %s: %s", i, consumer, diff)
			}
			if diff := cmp.Diff(ran, logged); diff != "" {
				t.Errorf("step %d, %s: the log phase ran others: %s", i, consumer, diff)
			}
		}
		switch want {
		case "rsc":
			full.RouteServiceConsumer = nil
		case "rc":
			full.RouteConsumer = nil
		case "sc":
			full.ServiceConsumer = nil
		case "rs":
			full.RouteService = nil
		case "c":
			full.Consumer = nil
		}
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
	for _, name := range []string{"X-Consumer-ID", "x_consumer_custom-id", "X-CONSUMER-USERNAME", "X-Consumer-Groups", "X-Credential-Identifier", "X_Anonymous_Consumer", "X-Consume"} {
		ex.Request.Header.Add(name, "forged")
	}
	plugin.StripIdentity(ex)
	plugin.Identify(ex, &plugin.Consumer{ID: "1", Username: "al\r\nX-Evil: 1"}, plugin.Credential{ID: "k", Identifier: "k"})
	got := map[string]string{}
	for name, value := range ex.Request.Header.All() {
		got[name] += value
	}
	want := map[string]string{"X-Consume": "forged", "X-Consumer-ID": "1", "X-Consumer-Username": "al  X-Evil: 1", "X-Credential-Identifier": "k"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
