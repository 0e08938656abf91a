package dns

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// FuzzRead: whatever comes, read neither panics nor takes an answer to another question for one to its own, and all that it
// says stands in the answer.
func FuzzRead(f *testing.F) {
	name := dnsmessage.MustNewName("a.test.")
	header := dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: 60}
	with := func(kind dnsmessage.Type, bodies ...dnsmessage.ResourceBody) []byte {
		m := dnsmessage.Message{Header: dnsmessage.Header{ID: 7, Response: true}, Questions: []dnsmessage.Question{{Name: name, Type: kind, Class: dnsmessage.ClassINET}}}
		for _, body := range bodies {
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: body})
		}
		m.Additionals = append(m.Additionals, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr("2001:db8::1").As16()}})
		packed, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		return packed
	}
	whole := with(dnsmessage.TypeA, &dnsmessage.AResource{A: [4]byte{10, 0, 0, 1}}, &dnsmessage.CNAMEResource{CNAME: name})
	for _, seed := range [][]byte{
		nil, whole, whole[:len(whole)-3], append(append([]byte{}, whole...), 1, 2, 3),
		with(dnsmessage.TypeSRV, &dnsmessage.SRVResource{Port: 1, Target: name}), with(dnsmessage.TypeA, &dnsmessage.SOAResource{NS: name, MBox: name, MinTTL: 5}),
		with(dnsmessage.TypeAAAA), with(dnsmessage.TypeA, &dnsmessage.TXTResource{TXT: []string{"x"}}),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		for _, kind := range []Type{A, AAAA, SRV} {
			q := question{"a.test.", kind}
			got, err := q.read(message, 7)
			if err != nil {
				if got != nil {
					t.Fatal("an error comes with an answer")
				}
				continue
			}
			var p dnsmessage.Parser
			h, err := p.Start(message)
			if err != nil || h.ID != 7 || !h.Response || h.Truncated {
				t.Fatalf("a message with the header %v, %v was taken", h, err)
			}
			asked, err := p.Question()
			if err != nil || !strings.EqualFold(asked.Name.String(), q.name) || Type(asked.Type) != kind {
				t.Fatalf("an answer to %v was taken for one to %v", asked, q)
			}
			if len(got.addrs)+len(got.services) > maxRecords || got.ttl < 0 || got.ttl > maxTTL {
				t.Fatalf("took %d records for %v", len(got.addrs)+len(got.services), got.ttl)
			}
			for _, addr := range got.addrs {
				if addr.Is4() != (kind == A) && !addr.Is4() {
					t.Fatalf("a question for %v is answered with %v", kind, addr)
				}
			}
		}
	})
}

// FuzzFiles: whatever stands in the files, there are servers to ask and no name leads nowhere.
func FuzzFiles(f *testing.F) {
	f.Add("nameserver 10.0.0.1\nnameserver ::1\nsearch a b.\noptions ndots:9 timeout:0 attempts:99 rotate\n")
	f.Add("127.0.0.1 a b # c\n::1 a\nx y")
	f.Fuzz(func(t *testing.T, text string) {
		c := parseResolvConf(text)
		if len(c.servers) == 0 || len(c.servers) > maxServers || c.attempts < 1 || c.timeout <= 0 || c.ndots < 0 {
			t.Fatalf("resolv.conf: %+v", c)
		}
		for _, host := range []string{"a", "a.b", "a."} {
			for _, name := range c.candidates(host) {
				if !strings.HasSuffix(name, ".") {
					t.Fatalf("%s stands for %q", host, name)
				}
			}
		}
		for name, addrs := range parseHosts(text) {
			if len(addrs) == 0 || name != strings.ToLower(name) {
				t.Fatalf("%q leads to %v", name, addrs)
			}
		}
	})
}

func TestQuestionsThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	for _, name := range []string{strings.Repeat("a", 300) + ".", "a..b.", strings.Repeat("a", 64) + ".", ""} {
		if b, err := (question{name, A}).ask(1, false); err == nil {
			t.Errorf("%q is asked for with %x", name, b)
		}
	}
	if _, err := (question{"a.", A}).read(nil, 0); !errors.Is(err, errForeign) {
		t.Errorf("nothing is %v", err)
	}
}
