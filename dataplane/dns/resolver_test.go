package dns_test

import (
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/keepgate/keepgate/dataplane/dns"
)

const quick = "options timeout:1 attempts:1\n"

func showAddr() cmp.Option { return cmp.Comparer(func(a, b netip.Addr) bool { return a == b }) }

func to(addrs ...string) (list []dns.Record) {
	for _, one := range addrs {
		list = append(list, dns.Record{Addr: netip.MustParseAddr(one)})
	}
	return list
}

func TestLookup(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.set("a.test.", a("a.test.", 60, "10.0.0.1"), a("a.test.", 30, "10.0.0.2"), a("a.test.", 60, "10.0.0.1"), a("a.test.", 60, "2001:db8::1"))
	s.set("six.test.", a("six.test.", 60, "2001:db8::1"))
	s.set("alias.test.", cname("alias.test.", 20, "other.test."), cname("other.test.", 90, "a.test."), a("a.test.", 60, "10.0.0.1"))
	s.set("half.test.", cname("half.test.", 5, "a.test."))
	s.set("loop.test.", cname("loop.test.", 60, "pool.test."), cname("pool.test.", 60, "loop.test."))
	s.set("lone.test.", cname("lone.test.", 60, "nowhere.test."))
	s.set("MIXED.test.", a("MIXED.test.", 60, "10.0.0.9"))
	s.set("mixed.test.", a("mIxEd.test.", 60, "10.0.0.3"))
	s.set("none.test.", soa(300, 7))
	s.set("short.test.", soa(3, 900))
	s.set("bare.test.")
	s.set("huge.test.", a("huge.test.", 1<<31, "10.0.0.4"))
	s.set("stray.test.", a("bank.test.", 60, "10.6.6.6"))
	s.set("_http._tcp.srv.test.", srv("_http._tcp.srv.test.", 60, 1, 3, 8001, "a.test."), srv("_http._tcp.srv.test.", 40, 1, 0, 8002, "six.test."),
		srv("_http._tcp.srv.test.", 60, 2, 9, 8003, "a.test."))
	s.set("gone.test.", srv("gone.test.", 60, 0, 0, 0, "."))
	s.set("lost.test.", srv("lost.test.", 60, 0, 0, 80, "nowhere.test."))
	s.set("both.test.", srv("both.test.", 60, 0, 5, 81, "a.test."), a("both.test.", 60, "10.0.0.8"))
	o := files(t, quick, "")
	o.Servers = []netip.AddrPort{s.addr}
	r := dns.NewResolver(o)
	service := func(addr string, port, weight uint16, name string) dns.Record {
		return dns.Record{Addr: netip.MustParseAddr(addr), Port: port, Weight: weight, Name: name}
	}
	for host, want := range map[string]dns.Answer{
		"a.test":     {Records: to("10.0.0.1", "10.0.0.2"), Kind: dns.A, TTL: 30 * time.Second},
		"A.Test.":    {Records: to("10.0.0.1", "10.0.0.2"), Kind: dns.A, TTL: 30 * time.Second},
		"six.test":   {Records: to("2001:db8::1"), Kind: dns.AAAA, TTL: time.Minute},
		"alias.test": {Records: to("10.0.0.1"), Kind: dns.A, TTL: 20 * time.Second},
		"half.test":  {Records: to("10.0.0.1", "10.0.0.2"), Kind: dns.A, TTL: 5 * time.Second},
		"mixed.test": {Records: to("10.0.0.3"), Kind: dns.A, TTL: time.Minute},
		"huge.test":  {Records: to("10.0.0.4"), Kind: dns.A},
		"_http._tcp.srv.test": {
			Records: []dns.Record{service("10.0.0.1", 8001, 3, "a.test"), service("10.0.0.2", 8001, 3, "a.test"), service("2001:db8::1", 8002, 1, "six.test")},
			Kind:    dns.SRV, TTL: 30 * time.Second,
		},
		"both.test":  {Records: []dns.Record{service("10.0.0.1", 81, 5, "a.test"), service("10.0.0.2", 81, 5, "a.test")}, Kind: dns.SRV, TTL: 30 * time.Second},
		"gone.test":  {TTL: 30 * time.Second},
		"lost.test":  {TTL: 30 * time.Second},
		"loop.test":  {TTL: 30 * time.Second},
		"lone.test":  {TTL: 30 * time.Second},
		"none.test":  {TTL: 7 * time.Second},
		"short.test": {TTL: 3 * time.Second},
		"bare.test":  {TTL: 30 * time.Second},
		"stray.test": {TTL: 30 * time.Second},
		"nxd.test":   {TTL: 30 * time.Second},
		"10.1.2.3":   {Records: to("10.1.2.3"), Kind: dns.A, TTL: 10 * time.Second},
		"localhost":  {Records: to("127.0.0.1"), Kind: dns.A, TTL: 10 * time.Second},
	} {
		t.Run(host, func(t *testing.T) {
			got, err := r.Lookup(t.Context(), host)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, showAddr()); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNamesThatCannotBeAsked(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	o := files(t, quick, "")
	o.Servers = []netip.AddrPort{s.addr}
	for _, host := range []string{strings.Repeat("a", 64) + ".test", strings.Repeat("abcdefgh.", 40) + "test", "a..test", "."} {
		if got, err := dns.NewResolver(o).Lookup(t.Context(), host); err == nil && len(got.Records) > 0 {
			t.Errorf("%q leads to %v", host, got)
		}
	}
}

// What a server or somebody on the way may do, and what comes of it.
func TestServersThatMisbehave(t *testing.T) {
	t.Parallel()
	right := to("10.0.0.1")
	evil := func(m dnsmessage.Message) dnsmessage.Message {
		m.Answers = []dnsmessage.Resource{a(m.Questions[0].Name.String(), 60, "10.6.6.6")}
		m.RCode = dnsmessage.RCodeSuccess
		return m
	}
	tests := map[string]struct {
		tamper func(network string, query, answer dnsmessage.Message) [][]byte
		want   []dns.Record // nil: nobody can be asked
		over   string       // how it was asked last
	}{
		"truncation": {func(network string, _, answer dnsmessage.Message) [][]byte {
			if network == "udp" {
				answer.Truncated, answer.Answers = true, nil
			}
			return [][]byte{packed(answer)}
		}, right, "tcp"},
		"truncation with wrong records": {func(network string, _, answer dnsmessage.Message) [][]byte {
			if network == "udp" {
				answer = evil(answer)
				answer.Truncated = true
			}
			return [][]byte{packed(answer)}
		}, right, "tcp"},
		"truncation for ever": {func(_ string, _, answer dnsmessage.Message) [][]byte {
			answer.Truncated = true
			return [][]byte{packed(answer)}
		}, nil, "tcp"},
		"wrong id first": {func(_ string, _, answer dnsmessage.Message) [][]byte {
			wrong := evil(answer)
			wrong.ID++
			return [][]byte{packed(wrong), packed(answer)}
		}, right, "udp"},
		"wrong question first": {func(_ string, _, answer dnsmessage.Message) [][]byte {
			wrong := evil(answer)
			wrong.Questions = []dnsmessage.Question{{Name: dnsmessage.MustNewName("b.test."), Type: answer.Questions[0].Type, Class: dnsmessage.ClassINET}}
			return [][]byte{packed(wrong), packed(answer)}
		}, right, "udp"},
		"wrong type first": {func(_ string, _, answer dnsmessage.Message) [][]byte {
			wrong := evil(answer)
			wrong.Questions = []dnsmessage.Question{{Name: answer.Questions[0].Name, Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET}}
			return [][]byte{packed(wrong), packed(answer)}
		}, right, "udp"},
		"a query instead of an answer": {func(_ string, query, answer dnsmessage.Message) [][]byte {
			return [][]byte{packed(query), packed(answer)}
		}, right, "udp"},
		"no question": {func(_ string, _, answer dnsmessage.Message) [][]byte {
			wrong := evil(answer)
			wrong.Questions = nil
			return [][]byte{packed(wrong), packed(answer)}
		}, right, "udp"},
		"junk first": {func(_ string, _, answer dnsmessage.Message) [][]byte {
			return [][]byte{nil, {1}, []byte(strings.Repeat("\xC0", 600)), packed(answer)}
		}, right, "udp"},
		"only a wrong id": {func(_ string, _, answer dnsmessage.Message) [][]byte {
			wrong := evil(answer)
			wrong.ID++
			return [][]byte{packed(wrong)}
		}, nil, "udp"},
		"silence": {func(string, dnsmessage.Message, dnsmessage.Message) [][]byte { return nil }, nil, "udp"},
		"cut in the middle": {func(_ string, _, answer dnsmessage.Message) [][]byte {
			whole := packed(answer)
			return [][]byte{whole[:len(whole)-1]}
		}, nil, "udp"},
		"server failure": {func(_ string, _, answer dnsmessage.Message) [][]byte {
			answer.RCode, answer.Answers = dnsmessage.RCodeServerFailure, nil
			return [][]byte{packed(answer)}
		}, nil, "udp"},
		"refusal": {func(_ string, _, answer dnsmessage.Message) [][]byte {
			answer.RCode, answer.Answers = dnsmessage.RCodeRefused, nil
			return [][]byte{packed(answer)}
		}, nil, "udp"},
		"no EDNS": {func(_ string, query, answer dnsmessage.Message) [][]byte {
			if len(query.Additionals) > 0 {
				answer.RCode, answer.Answers = dnsmessage.RCodeFormatError, nil
			}
			return [][]byte{packed(answer)}
		}, right, "udp"},
		"records of others": {func(_ string, _, answer dnsmessage.Message) [][]byte {
			answer.Answers = append([]dnsmessage.Resource{a("bank.test.", 60, "10.6.6.6"), cname("bank.test.", 60, "a.test.")}, answer.Answers...)
			answer.Additionals = append(answer.Additionals, a("a.test.", 60, "10.6.6.6"))
			return [][]byte{packed(answer)}
		}, right, "udp"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.set("a.test.", a("a.test.", 60, "10.0.0.1"))
			s.misbehave(test.tamper)
			o := files(t, quick, "")
			o.Servers, o.Order = []netip.AddrPort{s.addr}, []dns.Type{dns.A}
			got, err := dns.NewResolver(o).Lookup(t.Context(), "a.test")
			if (err == nil) != (test.want != nil) {
				t.Fatalf("Lookup = %v, %v", got, err)
			}
			if diff := cmp.Diff(test.want, got.Records, showAddr()); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
			if asked := s.questions(); !strings.HasPrefix(asked[len(asked)-1], test.over) {
				t.Errorf("asked %v", asked)
			}
		})
	}
}

// A server that fails is left for the next one, which is asked first from then on.
func TestFailover(t *testing.T) {
	t.Parallel()
	dead, broken, good := newServer(t), newServer(t), newServer(t)
	_, _ = dead.udp.Close(), dead.tcp.Close()
	broken.misbehave(func(_ string, _, answer dnsmessage.Message) [][]byte {
		answer.RCode = dnsmessage.RCodeServerFailure
		return [][]byte{packed(answer)}
	})
	good.set("a.test.", a("a.test.", 60, "10.0.0.1"))
	o := files(t, quick, "")
	o.Servers, o.Order = []netip.AddrPort{dead.addr, broken.addr, good.addr}, []dns.Type{dns.A}
	r := dns.NewResolver(o)
	for range 3 {
		if got, err := r.Lookup(t.Context(), "a.test"); err != nil || len(got.Records) != 1 {
			t.Fatalf("Lookup = %v, %v", got, err)
		}
	}
	if n, m := len(broken.questions()), len(good.questions()); n != 1 || m != 3 {
		t.Errorf("the broken server was asked %d times and the good one %d times, want 1 and 3", n, m)
	}
}

// An answer that comes after its time is nobody's: the socket is closed, and the next question has another one and another id.
func TestQuestionsDifferInPortAndID(t *testing.T) {
	t.Parallel()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ports, ids := map[uint16]bool{}, map[uint16]bool{}
	done := make(chan struct{})
	var sized atomic.Bool
	go func() {
		defer close(done)
		buffer := make([]byte, 512)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buffer)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buffer[:n]) != nil {
				continue
			}
			ports[from.Port()], ids[m.ID] = true, true
			sized.Store(len(m.Additionals) == 1 && m.Additionals[0].Header.Class == 1232 && m.RecursionDesired)
			m.Response, m.RCode = true, dnsmessage.RCodeNameError
			m.Additionals = nil
			_, _ = conn.WriteToUDPAddrPort(packed(m), from)
		}
	}()
	o := files(t, quick, "")
	o.Servers, o.Order = []netip.AddrPort{conn.LocalAddr().(*net.UDPAddr).AddrPort()}, []dns.Type{dns.A}
	r := dns.NewResolver(o)
	const n = 50
	for range n {
		if _, err := r.Lookup(t.Context(), "a.test"); err != nil {
			t.Fatal(err)
		}
	}
	_ = conn.Close()
	<-done
	if len(ports) < n/2 || len(ids) < n-3 {
		t.Errorf("%d questions had %d ports and %d ids", n, len(ports), len(ids))
	}
	if !sized.Load() {
		t.Error("the question does not say how large an answer may be, or does not ask for recursion")
	}
}
