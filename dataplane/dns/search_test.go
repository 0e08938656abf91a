package dns_test

import (
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/dataplane/dns"
)

func TestSearchAndHosts(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.set("a.one.test.", a("a.one.test.", 60, "10.0.0.1"))
	s.set("a.two.test.", a("a.two.test.", 60, "10.0.0.2"))
	s.set("b.c.", a("b.c.", 60, "10.0.0.3"))
	s.set("b.c.one.test.", a("b.c.one.test.", 60, "10.0.0.4"))
	o := files(t, quick+"# a comment\n; another\nsearch one.test two.test.\noptions ndots:2 rotate\nnameserver junk\n",
		"10.9.0.1 Filed.test other # comment\n2001:db8::7 filed.test\n2001:db8::8 six\nnonsense\n10.9.0.2 a.test.\n")
	o.Servers, o.Order = []netip.AddrPort{s.addr}, []dns.Type{dns.Last, dns.A, dns.CNAME}
	r := dns.NewResolver(o)
	for host, want := range map[string]struct {
		addr  string
		asked []string
	}{
		"filed.test": {"10.9.0.1", nil}, "OTHER": {"10.9.0.1", nil}, "six": {"2001:db8::8", nil}, "a.test.": {"10.9.0.2", nil},
		"a":     {"10.0.0.1", []string{"udp a.one.test. A"}},
		"b.c":   {"10.0.0.4", []string{"udp b.c.one.test. A"}}, // fewer dots than ndots: as it is comes last
		"b.c.":  {"10.0.0.3", []string{"udp b.c. A"}},
		"x":     {"", []string{"udp x.one.test. A", "udp x.two.test. A", "udp x. A"}},
		"x.y.z": {"", []string{"udp x.y.z. A", "udp x.y.z.one.test. A", "udp x.y.z.two.test. A"}},
	} {
		s.questions()
		got, err := r.Lookup(t.Context(), host)
		if err != nil {
			t.Fatal(err)
		}
		addr := ""
		if len(got.Records) > 0 {
			addr = got.Records[0].Addr.String()
		}
		if asked := s.questions(); addr != want.addr || !slices.Equal(asked, want.asked) {
			t.Errorf("%s leads to %q after %v, want %q after %v", host, addr, asked, want.addr, want.asked)
		}
	}
	if err := os.Remove(o.HostsFile); err != nil { // what was read serves on
		t.Fatal(err)
	}
	if got, err := r.Lookup(t.Context(), "other"); err != nil || len(got.Records) != 1 {
		t.Errorf("without its file a name leads to %v, %v", got, err)
	}
}

// The type that a name was found by is asked for first.
func TestLastType(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.set("a.test.", a("a.test.", 60, "10.0.0.1"))
	o := files(t, quick, "")
	o.Servers = []netip.AddrPort{s.addr}
	r := dns.NewResolver(o)
	var asked [][]string
	for range 2 {
		if _, err := r.Lookup(t.Context(), "a.test"); err != nil {
			t.Fatal(err)
		}
		asked = append(asked, s.questions())
	}
	s.set("a.test.", a("a.test.", 60, "2001:db8::1")) // found by another one, it is remembered anew
	for range 2 {
		if _, err := r.Lookup(t.Context(), "a.test"); err != nil {
			t.Fatal(err)
		}
		asked = append(asked, s.questions())
	}
	want := [][]string{
		{"udp a.test. SRV", "udp a.test. A"},
		{"udp a.test. A"},
		{"udp a.test. A", "udp a.test. SRV", "udp a.test. AAAA"},
		{"udp a.test. AAAA"},
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestParseOrder(t *testing.T) {
	t.Parallel()
	got, err := dns.ParseOrder([]string{"last", " A", "aaaa", "SRV", "CNAME"})
	if diff := cmp.Diff([]dns.Type{dns.Last, dns.A, dns.AAAA, dns.SRV, dns.CNAME}, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if _, err := dns.ParseOrder([]string{"A", "MX"}); err == nil {
		t.Error("MX is accepted")
	}
}
