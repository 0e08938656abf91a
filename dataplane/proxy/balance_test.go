package proxy_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/balancer"
	"github.com/keepgate/keepgate/dataplane/healthcheck"
	"github.com/keepgate/keepgate/dataplane/proxy"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// mortal is an origin that can be killed and brought back at the same address.
type mortal struct {
	addr    string
	handler http.Handler
	served  atomic.Int64
	server  *http.Server
	ended   chan struct{}
}

func newMortal(t testing.TB, handler http.HandlerFunc) *mortal {
	t.Helper()
	m := &mortal{addr: "127.0.0.1:0"}
	m.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.served.Add(1)
		handler(w, r)
	})
	m.restore(t)
	t.Cleanup(m.kill)
	return m
}

func (m *mortal) restore(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", m.addr)
	for start := time.Now(); err != nil && time.Since(start) < 30*time.Second; time.Sleep(10 * time.Millisecond) {
		l, err = net.Listen("tcp", m.addr)
	}
	if err != nil {
		t.Fatal(err)
	}
	m.addr, m.server, m.ended = l.Addr().String(), &http.Server{Handler: m.handler}, make(chan struct{})
	go func(s *http.Server, ended chan struct{}) {
		defer close(ended)
		_ = s.Serve(l)
	}(m.server, m.ended)
}

func (m *mortal) kill() {
	_ = m.server.Close()
	<-m.ended
}

// balanced is a configuration of one upstream and one route /r to it.
func balanced(change func(*configv1.Upstream), targets ...string) []entity {
	list := append(upstreamOf(targets...), route("r", "s"))
	up := list[0].message.(*configv1.Upstream)
	up.Id = new("u")
	if change != nil {
		change(up)
	}
	return list
}

// passive switches passive checks on that one failure is enough for.
func passive(u *configv1.Upstream) {
	one := int64(1)
	u.Healthchecks = &configv1.Healthchecks{Passive: &configv1.PassiveCheck{
		Unhealthy: &configv1.PassiveUnhealthy{TcpFailures: &one, HttpFailures: &one, Timeouts: &one},
	}}
}

// health is how the one upstream of a gateway is.
func (g *gateway) health(t testing.TB) balancer.Health {
	t.Helper()
	return g.holder.Current().Upstreams[0].Health(t.Context())
}

func (g *gateway) inFlight(t testing.TB) (n int) {
	t.Helper()
	for _, target := range g.health(t).Targets {
		for _, a := range target.Addresses {
			n += a.InFlight
		}
	}
	return n
}

// settles waits until no request is counted any more.
func (g *gateway) settles(t testing.TB) {
	t.Helper()
	for start := time.Now(); g.inFlight(t) != 0; time.Sleep(time.Millisecond) {
		if time.Since(start) > 30*time.Second {
			t.Fatalf("%d requests are still counted", g.inFlight(t))
		}
	}
}

// source gives the health checks the upstreams of a gateway.
type source struct{ *gateway }

func (s source) Changed() <-chan struct{} { return s.holder.Changed() }

func (s source) Subjects() (list []healthcheck.Subject) {
	for _, u := range s.holder.Current().Upstreams {
		list = append(list, u.Upstream)
	}
	return list
}

// check runs the health checks until the test ends.
func (g *gateway) check(t testing.TB) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = healthcheck.New(source{g}, nil).Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-ended
	})
}

// Targets die and come back under 64 clients, one at a time: no request is lost, whatever the algorithm, with and without
// checks, and those that come back serve again.
func TestTargetsDieAndComeBack(t *testing.T) {
	t.Parallel()
	active := func(u *configv1.Upstream) {
		passive(u)
		u.Healthchecks.Active = &configv1.ActiveCheck{
			Type: new("tcp"), Timeout: new(5.0), Concurrency: new(int64(2)), Healthy: &configv1.ActiveHealthy{Interval: new(0.02), Successes: new(int64(1))},
			Unhealthy: &configv1.ActiveUnhealthy{Interval: new(0.02), TcpFailures: new(int64(1))},
		}
	}
	for name, test := range map[string]struct {
		algorithm string
		change    func(*configv1.Upstream)
	}{
		"round-robin, unchecked": {"round-robin", nil}, "least-connections, checked": {"least-connections", active},
		"latency, checked": {"latency", active}, "consistent-hashing, checked": {"consistent-hashing", active},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answer := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "whole") }
			targets := []*mortal{newMortal(t, answer), newMortal(t, answer), newMortal(t, answer)}
			list := balanced(func(u *configv1.Upstream) {
				u.Algorithm = &test.algorithm
				if test.change != nil {
					test.change(u)
				}
			}, targets[0].addr, targets[1].addr, targets[2].addr)
			g := newGateway(t, proxy.Options{}, list...)
			g.check(t)
			stop := make(chan struct{})
			var served atomic.Int64
			var clients sync.WaitGroup
			for range 64 {
				clients.Go(func() { hammer(t, g, stop, &served) })
			}
			await := func(what string, done func() bool) {
				t.Helper()
				for start := time.Now(); !done() && !t.Failed(); time.Sleep(time.Millisecond) {
					if time.Since(start) > 60*time.Second {
						t.Errorf("%s: waited for too long", what)
					}
				}
			}
			for round, victim := range targets {
				for _, step := range []func(){victim.kill, func() { victim.restore(t) }} {
					step()
					from := served.Load()
					await(fmt.Sprint("round ", round), func() bool { return served.Load() >= from+200 })
				}
				from := victim.served.Load()
				await(fmt.Sprint("the return of target ", round), func() bool { return victim.served.Load() > from })
				g.apply(t, append(list, route(fmt.Sprint("other", round), "s"))...)
			}
			close(stop)
			clients.Wait()
			g.settles(t)
		})
	}
}

// hammer sends requests until stop is closed.
func hammer(t *testing.T, g *gateway, stop chan struct{}, served *atomic.Int64) {
	client := &http.Client{Transport: g.engine.transport()}
	defer client.CloseIdleConnections()
	for {
		select {
		case <-stop:
			return
		default:
		}
		response, err := client.Get(g.url + "/r")
		if err != nil {
			t.Errorf("lost: %v", err)
			return
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if response.StatusCode != 200 || err != nil || string(body) != "whole" {
			t.Errorf("status %d, %q, %v", response.StatusCode, body, err)
			return
		}
		served.Add(1)
	}
}

// What becomes of requests counts: a target that fails is left out, and with none left nobody is asked.
func TestPassiveChecks(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fail   http.HandlerFunc
		status int
	}{
		"a status":            {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, 503},
		"no response":         {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 502},
		"no response in time": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 504},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad := newMortal(t, test.fail)
			good := newMortal(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })
			list := balanced(passive, bad.addr, good.addr)
			service := list[1].message.(*configv1.Service)
			service.Retries, service.ReadTimeout = new(int64(0)), new(int64(200))
			g := newGateway(t, proxy.Options{}, list...)
			seen := map[int]int{}
			for range 10 {
				seen[g.do(t, "POST", "/r", "").status]++
			}
			if seen[test.status] != 1 || seen[204] != 9 {
				t.Errorf("10 requests got %v", seen)
			}
			good.kill()
			if got := g.do(t, "POST", "/r", ""); got.status != 502 {
				t.Errorf("the last target is dead: %d", got.status)
			}
			asked := bad.served.Load()
			got := g.do(t, "GET", "/r", "")
			if got.status != 503 || !strings.Contains(got.body, "failure to get a peer from the ring-balancer") || bad.served.Load() != asked {
				t.Errorf("with all targets down: %d %q, %d more requests", got.status, got.body, bad.served.Load()-asked)
			}
			g.apply(t, append(list, route("other", "s"))...)
			if got := g.do(t, "GET", "/r", ""); got.status != 503 {
				t.Errorf("another configuration brought the targets back: %d", got.status)
			}
		})
	}
}

// The fault of a client is none of the target's.
func TestClientsDoNotFellTargets(t *testing.T) {
	t.Parallel()
	started := make(chan struct{}, 1)
	o := newMortal(t, func(w http.ResponseWriter, r *http.Request) {
		started <- struct{}{}
		<-r.Context().Done()
	})
	g := newGateway(t, proxy.Options{}, balanced(passive, o.addr)...)
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /r HTTP/1.1\r\nHost: x\r\n\r\n")
	select {
	case <-started:
	case <-time.After(30 * time.Second):
		t.Fatal("the request does not come")
	}
	_ = conn.Close()
	g.settles(t)
	if h := g.health(t); h.Targets[0].State != balancer.Healthy {
		t.Errorf("a client left, and the target is %s", h.Targets[0].State)
	}
}
