package table_test

import (
	"crypto/tls"
	"fmt"
	"testing"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/table"
)

// alike are 10,000 routes on one path that differ in one other condition, and the request that belongs to the
// one in the middle.
func alike(what string) (list []table.Conditions, request exchange.Request, want string) {
	request = exchange.Request{Method: "GET", Scheme: "https", Host: "a.test", Path: "/api/x", TLS: &tls.ConnectionState{}}
	request.Header.Add("Accept", "*/*")
	request.Header.Add("User-Agent", "a browser of some length")
	for i := range 10_000 {
		c := table.Conditions{ID: fmt.Sprintf("r%05d", i), Paths: []string{"/api"}}
		switch what {
		case "header value":
			c.Headers = map[string][]string{"X-Tenant": {fmt.Sprintf("Tenant-%d", i)}}
		case "header name":
			c.Headers = map[string][]string{fmt.Sprintf("X-Tenant-%d", i): {"on"}}
		case "SNI":
			c.SNIs = []string{fmt.Sprintf("t%d.test", i)}
		case "method":
			c.Methods = []string{fmt.Sprintf("METHOD%d", i)}
		}
		list = append(list, c)
	}
	switch what {
	case "header value":
		request.Header.Add("x-tenant", "tenant-5000")
	case "header name":
		request.Header.Add("x-tenant-5000", "ON")
	case "SNI":
		request.TLS = &tls.ConnectionState{ServerName: "t5000.test"}
	case "method":
		request.Method = "METHOD5000"
	}
	return list, request, "r05000"
}

func BenchmarkMatchAlike10k(b *testing.B) {
	for _, what := range []string{"header value", "header name", "SNI", "method"} {
		b.Run(what, func(b *testing.B) {
			list, request, want := alike(what)
			r := newRouter(b, list...)
			if got := matchID(r, &request); got != want {
				b.Fatalf("matched %q", got)
			}
			b.ReportAllocs()
			for b.Loop() {
				r.Match(&request)
			}
		})
	}
}

// Routes that differ in one condition alone are found without looking at all of them, and without allocating.
func TestMatchAlike(t *testing.T) {
	for _, what := range []string{"header value", "header name", "SNI", "method"} {
		list, request, want := alike(what)
		list = append(list, table.Conditions{ID: "zlast", Paths: []string{"/a"}, Headers: map[string][]string{"x-tenant": {"~*^tenant-5000$"}}})
		r := newRouter(t, list...)
		if got := matchID(r, &request); got != want {
			t.Errorf("%s: matched %q", what, got)
		}
		if n := testing.AllocsPerRun(100, func() { r.Match(&request) }); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
}

// A server name is one, however the client spells it: no spelling passes a route by.
func TestServerNamesAreOneInAnyCase(t *testing.T) {
	t.Parallel()
	r := newRouter(t, table.Conditions{ID: "guarded", SNIs: []string{"Shop.test"}, Paths: []string{"/"}},
		table.Conditions{ID: "suffix", SNIs: []string{"*.shop.test"}, Paths: []string{"/"}},
		table.Conditions{ID: "prefix", SNIs: []string{"www.*"}, Paths: []string{"/"}}, table.Conditions{ID: "open", Paths: []string{"/"}})
	for sni, want := range map[string]string{"SHOP.test": "guarded", "A.Shop.Test": "suffix", "WWW.x": "prefix", "xshop.test": "open", "ww": "open", "": "open"} {
		request := exchange.Request{Method: "GET", Scheme: "https", Host: "x", Path: "/", TLS: &tls.ConnectionState{ServerName: sni}}
		if got := matchID(r, &request); got != want {
			t.Errorf("%s: %s, want %s", sni, got, want)
		}
	}
}
