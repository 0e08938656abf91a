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

// Which link a client came by is no part of its address: ranges hold none with a zone, so that one would be in no list.
func TestAPeersZoneIsLeftOut(t *testing.T) {
	t.Parallel()
	p := &Proxy{options: Options{RealIPHeader: "X-Real-IP", TrustedIPs: []netip.Prefix{netip.MustParsePrefix("fe80::/10")}}}
	for remote, want := range map[string]string{"[fe80::1%eth0]:80": "192.0.2.1", "[fe80::1]:80": "192.0.2.1", "[2001:db8::1]:80": "2001:db8::1"} {
		ex, s := new(exchange.Exchange), new(state)
		ex.Request.Remote = netip.MustParseAddrPort(remote)
		ex.Request.Header.Add("X-Real-IP", "192.0.2.1")
		if p.identify(ex, s); ex.Request.ClientAddr.String() != want || s.trusted != (want == "192.0.2.1") {
			t.Errorf("%s: the client is %v, trusted: %v", remote, ex.Request.ClientAddr, s.trusted)
		}
	}
	p.options.TrustedIPs = nil
	ex := new(exchange.Exchange)
	ex.Request.Remote = netip.MustParseAddrPort("[fe80::1%eth0]:80")
	if p.identify(ex, new(state)); ex.Request.ClientAddr.String() != "fe80::1" {
		t.Errorf("the client is %v", ex.Request.ClientAddr)
	}
}
