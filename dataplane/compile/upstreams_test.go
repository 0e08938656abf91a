package compile_test

import (
	"context"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/dataplane/balancer"
	"github.com/keepgate/keepgate/dataplane/healthcheck"
	"github.com/keepgate/keepgate/dataplane/table"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// pooled is a configuration of one upstream u with two targets, and a service.
func pooled(t *testing.T, checks *configv1.Healthchecks) config {
	t.Helper()
	c := config{}
	c.put(t, "upstreams", "u", &configv1.Upstream{Id: new("u"), Name: new("Pool.Up"), Algorithm: new("least-connections"), Healthchecks: checks})
	c.put(t, "services", "s", &configv1.Service{Protocol: new("http"), Host: new("pool.up"), Port: new(int64(80))})
	for id, at := range map[string]string{"t1": "127.0.0.1:1", "t2": "127.0.0.1:2"} {
		c.put(t, "targets", id, &configv1.Target{Target: &at, Weight: new(int64(10)), Upstream: &configv1.Ref{Id: "u"}})
	}
	return c
}

// What does not change is the same upstream; what does keeps what is known of its targets.
func TestUpstreamsOutliveConfigurations(t *testing.T) {
	t.Parallel()
	one := int64(1)
	c := pooled(t, &configv1.Healthchecks{Passive: &configv1.PassiveCheck{Unhealthy: &configv1.PassiveUnhealthy{TcpFailures: &one}}})
	compiler := newCompiler()
	first, _ := compiler.Compile(c.all)
	u := first.Upstreams[0]
	var try balancer.Try
	view := balancer.New(u.Upstream, func(_ balancer.Target, addr netip.AddrPort) string { return addr.String() })
	fell, err := view.Next(t.Context(), &try)
	if err != nil {
		t.Fatal(err)
	}
	try.Report(healthcheck.Unreachable())
	try.End()
	c.put(t, "services", "other", &configv1.Service{Protocol: new("http"), Host: new("127.0.0.1"), Port: new(int64(80))})
	second, _ := compiler.Compile(c.all)
	if second.Upstreams[0].Upstream != u.Upstream {
		t.Error("an upstream that did not change was made again")
	}
	at := "127.0.0.1:3"
	c.put(t, "targets", "t3", &configv1.Target{Target: &at, Weight: new(int64(10)), Upstream: &configv1.Ref{Id: "u"}})
	third, _ := compiler.Compile(c.all)
	states := map[string]balancer.State{}
	for _, target := range third.Upstreams[0].Health(t.Context()).Targets {
		states[target.Addresses[0].Addr.String()] = target.State
	}
	want := map[string]balancer.State{"127.0.0.1:1": balancer.Healthy, "127.0.0.1:2": balancer.Healthy, "127.0.0.1:3": balancer.Healthy}
	want[fell] = balancer.Unhealthy
	if diff := cmp.Diff(want, states); diff != "" {
		t.Errorf("after a target came (-want +got):\n%s", diff)
	}
}

// What the control plane leaves out has Kong's defaults; 0 is off.
func TestHealthchecksAreRead(t *testing.T) {
	t.Parallel()
	compiled, quarantined := newCompiler().Compile(pooled(t, nil).all)
	if h := &compiled.Upstreams[0].Spec().Health; h.On() || len(quarantined) > 0 {
		t.Errorf("without healthchecks: on %v, %v", h.On(), quarantined)
	}
	compiled, quarantined = newCompiler().Compile(pooled(t, &configv1.Healthchecks{
		Threshold: new(25.0),
		Active: &configv1.ActiveCheck{
			Type: new("https"), Timeout: new(0.5), Concurrency: new(int64(3)), HttpPath: new("/up"), HttpsSni: new("sni.test"), HttpsVerifyCertificate: new(false),
			Healthy:   &configv1.ActiveHealthy{Interval: new(1.5), Successes: new(int64(2))},
			Unhealthy: &configv1.ActiveUnhealthy{Interval: new(2.5), TcpFailures: new(int64(3)), Timeouts: new(int64(4)), HttpFailures: new(int64(5))},
		},
	}).all)
	h := &compiled.Upstreams[0].Spec().Health
	a := &h.Active
	if a.Kind != healthcheck.HTTPS || a.Timeout != 500*time.Millisecond || a.Concurrency != 3 || a.Path != "/up" || a.SNI != "sni.test" || h.Threshold != 25 ||
		a.Healthy.Interval != 1500*time.Millisecond || a.Unhealthy.Interval != 2500*time.Millisecond || a.Healthy.Successes != 2 ||
		a.Unhealthy.TCPFailures != 3 || a.Unhealthy.Timeouts != 4 || a.Unhealthy.HTTPFailures != 5 || len(quarantined) > 0 {
		t.Errorf("healthchecks are %+v, %v", h, quarantined)
	}
	for status, want := range map[int][4]bool{200: {true, false, true, false}, 404: {false, true, false, false}, 503: {false, true, false, true}, 302: {true, false, true, false}} {
		p := &h.Passive
		if got := [4]bool{a.Healthy.Statuses.Has(status), a.Unhealthy.Statuses.Has(status), p.Healthy.Statuses.Has(status), p.Unhealthy.Statuses.Has(status)}; got != want {
			t.Errorf("%d is %v, want %v", status, got, want)
		}
	}
	if tls := a.TLS("a.test"); tls.ServerName != "a.test" || tls.VerifyConnection != nil {
		t.Errorf("probes ask for %q, verified: %v", tls.ServerName, tls.VerifyConnection != nil)
	}
}

// subjects are the upstreams of the table that serves.
type subjects struct{ *table.Holder }

func (s subjects) Subjects() (list []healthcheck.Subject) {
	for _, one := range s.Current().Upstreams {
		list = append(list, one.Upstream)
	}
	return list
}

// A thousand configurations, each with checks of its own, leave nothing running behind.
func TestChecksDoNotPileUp(t *testing.T) {
	holder := table.NewHolder()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	before := runtime.NumGoroutine()
	go func() {
		defer close(ended)
		_ = healthcheck.New(subjects{holder}, nil).Run(ctx)
	}()
	compiler := newCompiler()
	for i := range 1000 {
		c := pooled(t, &configv1.Healthchecks{Active: &configv1.ActiveCheck{
			Type: new("tcp"), Healthy: &configv1.ActiveHealthy{Interval: new(float64(1 + i%7))}, Unhealthy: &configv1.ActiveUnhealthy{Interval: new(1.0)},
		}})
		compiled, _ := compiler.Compile(c.all)
		holder.Swap(compiled)
		if i%100 == 99 {
			settle(t, before+8, i)
		}
	}
	stop()
	<-ended
	settle(t, before, 1000)
}

// settle waits until no more than so many goroutines run.
func settle(t *testing.T, most, swaps int) {
	t.Helper()
	for start := time.Now(); runtime.NumGoroutine() > most; time.Sleep(time.Millisecond) {
		if time.Since(start) > 30*time.Second {
			t.Fatalf("after %d configurations %d goroutines run, want at most %d", swaps, runtime.NumGoroutine(), most)
		}
	}
}
