package proxy

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// FuzzForm: any Accept leads to one of the four forms, with a quality that RFC 9110 §12.4.2 knows.
func FuzzForm(f *testing.F) {
	for _, seed := range []string{"", "*/*", "text/html;q=0.9, application/json;q=0.91", "text/plain;q=1.0001;q=", ";;q=0.,,", "text/xml ; Q=0.5"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, accept string) {
		known := map[*form]bool{&jsonForm: true, &htmlForm: true, &plainForm: true, &xmlForm: true}
		if !known[formFor(accept)] {
			t.Fatalf("%q leads nowhere", accept)
		}
		if quality := qualityOf(accept); quality < 0 || quality > 2 {
			t.Fatalf("quality %v of %q", quality, accept)
		}
	})
}

// FuzzRealIP: without a trusted chain the client is an address that stands in the header, or none.
func FuzzRealIP(f *testing.F) {
	for _, seed := range []string{"1.2.3.4", "1.2.3.4, 10.0.0.1", "[2001:db8::1]:80, 10.0.0.1", "junk, 10.0.0.1", "10.0.0.1,", "::ffff:10.0.0.1"} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	trusted := netip.MustParsePrefix("10.0.0.0/8")
	f.Fuzz(func(t *testing.T, value string, deep bool) {
		p := &Proxy{options: Options{RealIPHeader: "X-Forwarded-For", RealIPDeep: deep, TrustedIPs: []netip.Prefix{trusted}}}
		var header exchange.Header
		header.Add("X-Forwarded-For", value)
		client, found := p.realIP(&header)
		if found != client.IsValid() {
			t.Fatalf("%q: %v, %v", value, client, found)
		}
		if !found || deep {
			return
		}
		written := header.Get("X-Forwarded-For")
		last := strings.Trim(written[strings.LastIndexByte(written, ',')+1:], " \t")
		if addr, ok := parseAddr(last); !ok || addr != client {
			t.Fatalf("%q: %v is not the last address %q", value, client, last)
		}
	})
}
