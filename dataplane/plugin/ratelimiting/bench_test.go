package ratelimiting

import (
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
)

func phases(t testing.TB, c *pluginv1.RateLimiting) (plugin.Accesser, plugin.Responder) {
	t.Helper()
	config, err := proto.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	made, err := New(Options{}).New(config, plugin.Env{ID: "p", Slot: plugin.SlotOf(0)})
	if err != nil {
		t.Fatal(err)
	}
	return made.(plugin.Accesser), made.(plugin.Responder)
}

func TestNothingIsAllocated(t *testing.T) {
	access, respond := phases(t, &pluginv1.RateLimiting{Minute: new(1e9), Year: new(1e9), LimitBy: new("ip")})
	ex := new(exchange.Exchange)
	once := func() {
		ex.Reset()
		ex.NeedSlots(4)
		ex.Request.ClientAddr = netip.AddrFrom4([4]byte{192, 0, 2, 1})
		access.Access(ex, nil)
		respond.Response(ex, nil)
		if ex.Answered() || ex.Response.Header.Len() != 7 {
			t.Fatal("refused")
		}
	}
	once()
	if n := testing.AllocsPerRun(1000, once); n != 0 && !raceEnabled {
		t.Errorf("%v allocations", n)
	}
}

func TestLimitByConsumerGroup(t *testing.T) {
	t.Parallel()
	access, respond := phases(t, &pluginv1.RateLimiting{Year: new(10.0), LimitBy: new("consumer-group")})
	staff, sales := exchange.Group{ID: "1", Name: "staff"}, exchange.Group{ID: "2", Name: "sales"}
	for i, test := range []struct {
		who  exchange.Consumer
		left string
	}{
		{exchange.Consumer{ID: "a", Groups: []exchange.Group{sales, staff}}, "9"},
		{exchange.Consumer{ID: "b", Groups: []exchange.Group{sales}}, "8"},
		{exchange.Consumer{ID: "b", Groups: []exchange.Group{staff}}, "9"},
		{exchange.Consumer{ID: "c"}, "9"},
		{exchange.Consumer{}, "8"},
	} {
		ex := new(exchange.Exchange)
		ex.NeedSlots(4)
		ex.Consumer = test.who
		access.Access(ex, nil)
		respond.Response(ex, nil)
		if left := ex.Response.Header.Get("X-RateLimit-Remaining-Year"); left != test.left {
			t.Errorf("request %d: %s left, want %s", i, left, test.left)
		}
	}
}

func BenchmarkRequest(b *testing.B) {
	for name, clients := range map[string]int{"one client": 1, "100,000 clients": 100_000} {
		b.Run(name, func(b *testing.B) {
			access, respond := phases(b, &pluginv1.RateLimiting{Minute: new(1e12), LimitBy: new("ip")})
			var seed atomic.Uint64
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				random := rand.New(rand.NewPCG(seed.Add(1), 0))
				ex := new(exchange.Exchange)
				for pb.Next() {
					ex.Reset()
					ex.NeedSlots(4)
					n := random.IntN(clients)
					ex.Request.ClientAddr = netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
					access.Access(ex, nil)
					respond.Response(ex, nil)
				}
			})
		})
	}
}

func BenchmarkTake(b *testing.B) {
	c := newCounters(defaultIdentities)
	l := limits{minute: 1 << 60}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var v verdict
		for pb.Next() {
			c.take(42, &l, minute, &v)
		}
	})
}

// BenchmarkFlood counts clients that never come back, beyond the room.
func BenchmarkFlood(b *testing.B) {
	c := newCounters(1 << 16)
	l := limits{year: 1}
	random := rand.New(rand.NewPCG(1, 1))
	var v verdict
	b.ReportAllocs()
	for b.Loop() {
		c.take(random.Uint64(), &l, year, &v)
	}
}
