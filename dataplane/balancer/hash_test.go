package balancer_test

import (
	"net/netip"
	"testing"

	"github.com/keepgate/keepgate/dataplane/balancer"
	"github.com/keepgate/keepgate/dataplane/dns"
	"github.com/keepgate/keepgate/dataplane/exchange"
)

// captures are those of a test.
type captures map[string]string

func (c captures) Captures(_ string, visit func(int, string, string)) {
	for name, value := range c {
		visit(1, name, value)
	}
}

// Equal inputs lead to the same target and different ones to different targets, fallbacks where the first input is not there.
func TestInputs(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		hash balancer.Hash
		set  func(ex *exchange.Exchange, value string)
	}{
		"consumer":    {balancer.Hash{On: balancer.Input{Kind: balancer.Consumer}}, func(ex *exchange.Exchange, v string) { ex.Consumer.ID = v }},
		"credential":  {balancer.Hash{On: balancer.Input{Kind: balancer.Consumer}}, func(ex *exchange.Exchange, v string) { ex.Consumer.CredentialID = v }},
		"header":      {balancer.Hash{On: balancer.Input{Kind: balancer.Header, Name: "X-Key"}}, func(ex *exchange.Exchange, v string) { ex.Request.Header.Set("x-key", v) }},
		"cookie":      {balancer.Hash{On: balancer.Input{Kind: balancer.Cookie, Name: "c"}}, func(ex *exchange.Exchange, v string) { ex.Request.Header.Set("Cookie", "cc=1; c="+v+"; d=2") }},
		"path":        {balancer.Hash{On: balancer.Input{Kind: balancer.Path}}, func(ex *exchange.Exchange, v string) { ex.Request.Path = "/" + v }},
		"parameter":   {balancer.Hash{On: balancer.Input{Kind: balancer.QueryArg, Name: "q"}}, func(ex *exchange.Exchange, v string) { ex.Request.RawQuery = "qq=1&q=" + v + "&r" }},
		"ip":          {balancer.Hash{On: balancer.Input{Kind: balancer.IP}}, func(ex *exchange.Exchange, v string) { ex.Request.ClientAddr = addrOf(v) }},
		"uri capture": {balancer.Hash{On: balancer.Input{Kind: balancer.URICapture, Name: "id"}}, nil},
		"fallback": {
			balancer.Hash{On: balancer.Input{Kind: balancer.Consumer}, Fallback: balancer.Input{Kind: balancer.Header, Name: "X-Key"}},
			func(ex *exchange.Exchange, v string) { ex.Request.Header.Set("X-Key", v) },
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := hashing(test.hash)
			found := map[string]bool{}
			for _, value := range []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"} {
				last := ""
				for range 4 {
					ex := request()
					given := captures{}
					if test.set == nil {
						given["id"], given["other"] = value, "same"
					} else {
						test.set(ex, value)
					}
					var try balancer.Try
					if set := b.Upstream().Aim(ex, given, &try); set != "" {
						t.Errorf("a cookie %q is set", set)
					}
					peer, err := b.Next(t.Context(), &try)
					if err != nil || last != "" && peer != last {
						t.Fatalf("%s leads to %s and to %s, %v", value, last, peer, err)
					}
					last = peer
					try.End()
				}
				found[last] = true
			}
			if len(found) < 5 {
				t.Errorf("16 values lead to %d targets of 8", len(found))
			}
		})
	}
}

// A client without the cookie gets one that leads where its request went.
func TestCookieIsSet(t *testing.T) {
	t.Parallel()
	b := hashing(balancer.Hash{On: balancer.Input{Kind: balancer.Cookie, Name: "sticky"}, CookiePath: "/app"})
	for range 20 {
		var try balancer.Try
		set := b.Upstream().Aim(request(), nil, &try)
		first, err := b.Next(t.Context(), &try)
		if err != nil {
			t.Fatal(err)
		}
		const prefix, suffix = "sticky=", "; Path=/app"
		if len(set) != len(prefix)+36+len(suffix) || set[:len(prefix)] != prefix || set[len(prefix)+36:] != suffix {
			t.Fatalf("the cookie is set by %q", set)
		}
		back := request()
		back.Request.Header.Set("Cookie", set[:len(prefix)+36])
		var again balancer.Try
		if repeated := b.Upstream().Aim(back, nil, &again); repeated != "" {
			t.Errorf("the cookie is set again: %q", repeated)
		}
		if peer, err := b.Next(t.Context(), &again); err != nil || peer != first {
			t.Fatalf("the cookie leads to %s, %v; the first request went to %s", peer, err, first)
		}
	}
}

// Without any input requests are spread.
func TestNoInput(t *testing.T) {
	t.Parallel()
	for _, hash := range []balancer.Hash{{}, {On: balancer.Input{Kind: balancer.Consumer}}} {
		b := hashing(hash)
		found := map[string]bool{}
		for range 200 {
			var try balancer.Try
			b.Upstream().Aim(request(), nil, &try)
			peer, err := b.Next(t.Context(), &try)
			if err != nil {
				t.Fatal(err)
			}
			found[peer] = true
			try.End()
		}
		if len(found) != 8 {
			t.Errorf("200 requests went to %d targets of 8", len(found))
		}
	}
}

func request() *exchange.Exchange {
	ex := new(exchange.Exchange)
	ex.Request.Path, ex.Request.ClientAddr = "/", addrOf("1")
	return ex
}

func addrOf(text string) netip.Addr {
	if len(text) == 1 {
		text = "0" + text
	}
	return netip.MustParseAddr("192.0.2.1" + text)
}

func hashing(hash balancer.Hash) *balancer.Balancer[string] {
	spec := balancer.Spec{ID: "u", Algorithm: balancer.ConsistentHashing, Slots: 1000, Hash: hash}
	for i := range 8 {
		spec.Targets = append(spec.Targets, balancer.Target{Host: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}).String(), Port: 80, Weight: 1})
	}
	settings := balancer.Settings{Names: dns.NewNames(dns.NewResolver(dns.Options{}), dns.NameOptions{})}
	return balancer.New(balancer.NewUpstream(spec, settings, nil), func(_ balancer.Target, addr netip.AddrPort) string { return addr.String() })
}

func BenchmarkNext(b *testing.B) {
	for _, algorithm := range []balancer.Algorithm{balancer.RoundRobin, balancer.LeastConnections, balancer.ConsistentHashing, balancer.Latency} {
		for _, targets := range []int{3, 100} {
			b.Run(string(algorithm)+"/"+map[int]string{3: "3", 100: "100"}[targets], func(b *testing.B) {
				spec := balancer.Spec{ID: "u", Algorithm: algorithm}
				for i := range targets {
					spec.Targets = append(spec.Targets, balancer.Target{Host: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}).String(), Port: 80, Weight: 100})
				}
				one := balancer.New(balancer.NewUpstream(spec, balancer.Settings{}, nil), func(_ balancer.Target, addr netip.AddrPort) string { return addr.String() })
				try, ctx, key := new(balancer.Try), b.Context(), uint64(0)
				b.ReportAllocs()
				for b.Loop() {
					*try = balancer.Try{}
					key += 0x9E3779B97F4A7C15
					try.SetKey(key)
					if _, err := one.Next(ctx, try); err != nil {
						b.Fatal(err)
					}
					try.End()
				}
			})
		}
	}
}
