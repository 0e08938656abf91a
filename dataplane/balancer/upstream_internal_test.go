package balancer

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/dataplane/dns"
	"github.com/keepgate/keepgate/dataplane/healthcheck"
)

func failed() healthcheck.Outcome { return healthcheck.Unreachable() }

// book answers from a table.
type book struct {
	mu      sync.Mutex
	records map[string][]dns.Record // guarded by mu
	kind    dns.Type
}

func (b *book) Lookup(_ context.Context, host string) (dns.Answer, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	list, ok := b.records[host]
	if !ok {
		return dns.Answer{}, errors.New("nobody answers")
	}
	return dns.Answer{Records: append([]dns.Record(nil), list...), Kind: b.kind, TTL: 10 * time.Second}, nil
}

func (b *book) set(host string, addrs ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := []dns.Record{}
	for _, a := range addrs {
		list = append(list, dns.Record{Addr: netip.MustParseAddr(a)})
	}
	b.records[host] = list
}

func newBook() *book { return &book{records: map[string][]dns.Record{}, kind: dns.A} }

func (b *book) settings() Settings {
	return Settings{Names: dns.NewNames(b, dns.NameOptions{})}
}

// What is learnt of an address goes on as long as a target leads to it, whatever else changes.
func TestStateOutlivesConfigurations(t *testing.T) {
	t.Parallel()
	spec := specOf(LeastConnections, 1, 1, 1)
	spec.Health = checks()
	first := NewUpstream(spec, Settings{}, nil)
	b := New(first, address)
	tries := make([]Try, 3)
	for i := range tries {
		if _, err := b.Next(t.Context(), &tries[i]); err != nil {
			t.Fatal(err)
		}
	}
	first.current.Load().seats[2].health.Passive(&first.spec.Health, failed())
	changed := specOf(LeastConnections, 1, 7, 1, 1)
	changed.Health, changed.Algorithm = checks(), Latency
	unused := NewUpstream(changed, Settings{}, first)
	second := NewUpstream(changed, Settings{}, unused) // the one between never served
	l := second.layout(t.Context(), 0)
	for i, want := range []struct {
		inFlight int64
		healthy  bool
	}{{1, true}, {1, true}, {1, false}, {0, true}} {
		if s := l.seats[i]; s.inFlight.Load() != want.inFlight || s.health.Healthy() != want.healthy {
			t.Errorf("target %d: %d in flight, healthy %v; want %+v", i, s.inFlight.Load(), s.health.Healthy(), want)
		}
	}
	tries[0].End() // begun under the former configuration
	if n := inFlight(second); n != 2 {
		t.Errorf("%d requests in flight after one of 3 has ended", n)
	}
	off := specOf(LeastConnections, 1, 1, 1)
	if l := NewUpstream(off, Settings{}, second).layout(t.Context(), 0); !l.seats[2].health.Healthy() {
		t.Error("with checks switched off, a target stays down for ever")
	}
	gone := NewUpstream(specOf(LeastConnections, 1, 1), Settings{}, second)
	gone.layout(t.Context(), 0)
	back := NewUpstream(spec, Settings{}, gone).layout(t.Context(), 0)
	if s := back.seats[2]; s.inFlight.Load() != 0 || !s.health.Healthy() {
		t.Error("a target that was removed came back with its state")
	}
}

// Services share what their upstream learns, and connect for themselves.
func TestServicesShareAnUpstream(t *testing.T) {
	t.Parallel()
	u := NewUpstream(specOf(RoundRobin, 1, 1), Settings{}, nil)
	connected := map[string]int{}
	view := func(name string) *Balancer[string] {
		return New(u, func(_ Target, addr netip.AddrPort) string {
			connected[name+" "+addr.String()]++
			return name + " " + addr.String()
		})
	}
	a, b := view("a"), view("b")
	for range 10 { // a and b take turns at one ring
		if got := spread(t, a, 1); len(got) != 1 {
			t.Fatal(got)
		}
		spread(t, b, 1)
	}
	if diff := cmp.Diff(map[string]int{"a 10.0.0.0:80": 1, "a 10.0.0.1:80": 1, "b 10.0.0.0:80": 1, "b 10.0.0.1:80": 1}, connected); diff != "" {
		t.Errorf("connected (-want +got):\n%s", diff)
	}
}

// Names lead to all their addresses, each with the target's weight, and to new ones when their answer is over.
func TestNamesAreFollowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		names := newBook()
		names.set("two.test", "10.1.0.1", "10.1.0.2")
		u := NewUpstream(Spec{Targets: []Target{{Host: "two.test", Port: 8000, Weight: 10}, {Host: "10.9.9.9", Port: 1, Weight: 20}, {Host: "dead.test", Port: 1, Weight: 5}}}, names.settings(), nil)
		b := New(u, address)
		if diff := cmp.Diff(map[string]int{"10.1.0.1:8000": 10, "10.1.0.2:8000": 10, "10.9.9.9:1": 20}, spread(t, b, 40)); diff != "" {
			t.Errorf("at first (-want +got):\n%s", diff)
		}
		var try Try
		for range 4 { // round-robin comes to 10.1.0.2 once
			if _, err := b.Next(t.Context(), &try); err != nil {
				t.Fatal(err)
			}
		}
		names.set("two.test", "10.1.0.2", "10.1.0.3")
		time.Sleep(11 * time.Second)
		if diff := cmp.Diff(map[string]int{"10.1.0.2:8000": 10, "10.1.0.3:8000": 10, "10.9.9.9:1": 20}, spread(t, b, 40)); diff != "" {
			t.Errorf("later (-want +got):\n%s", diff)
		}
		if n := inFlight(u); n > 1 {
			t.Errorf("%d requests in flight", n)
		}
		names.set("dead.test", "10.1.0.9")
		time.Sleep(11 * time.Second)
		if got := spread(t, b, 45); got["10.1.0.9:1"] != 5 {
			t.Errorf("a name that came to life gets %v", got)
		}
	})
}

// SRV records say port and weight; what hosts are called is the upstream's choice.
func TestServiceRecords(t *testing.T) {
	t.Parallel()
	for useName, want := range map[bool]map[string]int{
		false: {"_http._tcp.test:81 10.1.0.1:81": 3, "_http._tcp.test:8000 10.1.0.2:8000": 1},
		true:  {"one.test:81 10.1.0.1:81": 3, "two.test:8000 10.1.0.2:8000": 1},
	} {
		names := newBook()
		names.kind = dns.SRV
		names.records["_http._tcp.test"] = []dns.Record{
			{Addr: netip.MustParseAddr("10.1.0.1"), Port: 81, Weight: 3, Name: "one.test"}, {Addr: netip.MustParseAddr("10.1.0.2"), Weight: 1, Name: "two.test"},
		}
		u := NewUpstream(Spec{UseSRVName: useName, Targets: []Target{{Host: "_http._tcp.test", Port: 8000, Weight: 100}}}, names.settings(), nil)
		b := New(u, func(t Target, addr netip.AddrPort) string {
			return t.Host + ":" + netip.AddrPortFrom(addr.Addr(), t.Port).String()[len(addr.Addr().String())+1:] + " " + addr.String()
		})
		if diff := cmp.Diff(want, spread(t, b, 4)); diff != "" {
			t.Errorf("use_srv_name %v (-want +got):\n%s", useName, diff)
		}
	}
}

func TestPlainHosts(t *testing.T) {
	t.Parallel()
	names := newBook()
	names.set("a.test", "10.0.0.1")
	names.set("nothing.test")
	for host, want := range map[string]error{"a.test": nil, "nothing.test": ErrName, "dead.test": ErrName, "10.0.0.7": nil} {
		if _, err := New(ForHost("s", host, 80, names.settings(), nil), address).Next(t.Context(), &Try{}); !errors.Is(err, want) {
			t.Errorf("%s: Next = %v, want %v", host, err, want)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	slow := Settings{Names: dns.NewNames(never{}, dns.NameOptions{})}
	if _, err := New(ForHost("s", "a.test", 80, slow, nil), address).Next(gone, &Try{}); err == nil {
		t.Error("a request without patience got a peer")
	}
}

// never answers.
type never struct{}

func (never) Lookup(ctx context.Context, _ string) (dns.Answer, error) {
	<-ctx.Done()
	return dns.Answer{}, ctx.Err()
}

func TestHealthShows(t *testing.T) {
	t.Parallel()
	names := newBook()
	names.set("a.test", "10.0.0.1", "10.0.0.2")
	spec := Spec{Health: checks(), Targets: []Target{{Host: "a.test", Port: 80, Weight: 10}, {Host: "dead.test", Port: 80, Weight: 10}, {Host: "10.0.0.3", Port: 80}}}
	u := NewUpstream(spec, names.settings(), nil)
	u.layout(t.Context(), 0)
	u.current.Load().seats[0].health.Passive(&u.spec.Health, failed())
	got := u.Health(t.Context())
	want := Health{Checked: true, Usable: true, Total: 20, Available: 10, Targets: []TargetHealth{
		{Target: spec.Targets[0], State: Healthy, Record: "A", Total: 20, Available: 10, Addresses: []AddressHealth{
			{Addr: netip.MustParseAddrPort("10.0.0.1:80"), Weight: 10, State: Unhealthy}, {Addr: netip.MustParseAddrPort("10.0.0.2:80"), Weight: 10, State: Healthy},
		}},
		{Target: spec.Targets[1], State: Unknown},
		{Target: spec.Targets[2], State: Unchecked, Addresses: []AddressHealth{{Addr: netip.MustParseAddrPort("10.0.0.3:80"), State: Unchecked}}},
	}}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("health (-want +got):\n%s", diff)
	}
	u.current.Load().seats[1].health.Passive(&u.spec.Health, failed())
	if got := u.Health(t.Context()); got.Usable || got.Targets[0].State != Unhealthy {
		t.Errorf("with all down, usable %v, %s", got.Usable, got.Targets[0].State)
	}
}
