package dns_test

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/keepgate/keepgate/dataplane/dns"
)

// server is a name server on loopback. It answers each question with what its zone says, and misbehaves where a test tells
// it to.
type server struct {
	addr netip.AddrPort
	udp  *net.UDPConn
	tcp  *net.TCPListener

	mu    sync.Mutex
	zone  map[string][]dnsmessage.Resource // guarded by mu; by name
	asked []string                         // guarded by mu; "udp a.test. TypeA"
	// tamper, when set, sees every answer before it is packed and says what is sent instead; nil sends nothing.
	tamper func(network string, query dnsmessage.Message, answer dnsmessage.Message) [][]byte // guarded by mu
}

func newServer(t testing.TB) *server {
	t.Helper()
	for range 20 { // until a port is free for both
		tcp, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		port := tcp.Addr().(*net.TCPAddr).Port
		udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			_ = tcp.Close()
			continue
		}
		s := &server{addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port)), udp: udp, tcp: tcp, zone: map[string][]dnsmessage.Resource{}}
		var wg sync.WaitGroup
		wg.Go(s.serveUDP)
		wg.Go(func() { s.serveTCP(&wg) })
		t.Cleanup(func() {
			_, _ = udp.Close(), tcp.Close()
			wg.Wait()
		})
		return s
	}
	t.Fatal("no port is free for both UDP and TCP")
	return nil
}

func (s *server) serveUDP() {
	buffer := make([]byte, 4096)
	for {
		n, from, err := s.udp.ReadFromUDPAddrPort(buffer)
		if err != nil {
			return
		}
		for _, message := range s.answer("udp", buffer[:n]) {
			_, _ = s.udp.WriteToUDPAddrPort(message, from)
		}
	}
}

func (s *server) serveTCP(wg *sync.WaitGroup) {
	for {
		conn, err := s.tcp.Accept()
		if err != nil {
			return
		}
		wg.Go(func() {
			defer conn.Close()
			var length [2]byte
			if _, err := io.ReadFull(conn, length[:]); err != nil {
				return
			}
			query := make([]byte, binary.BigEndian.Uint16(length[:]))
			if _, err := io.ReadFull(conn, query); err != nil {
				return
			}
			for _, message := range s.answer("tcp", query) {
				_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...))
			}
		})
	}
}

// answer is what goes back for a query.
func (s *server) answer(network string, raw []byte) [][]byte {
	var query dnsmessage.Message
	if query.Unpack(raw) != nil || len(query.Questions) != 1 {
		return nil
	}
	q := query.Questions[0]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, network+" "+q.Name.String()+" "+strings.TrimPrefix(q.Type.String(), "Type"))
	answer := dnsmessage.Message{Header: dnsmessage.Header{ID: query.ID, Response: true, RecursionAvailable: true, RecursionDesired: true}, Questions: query.Questions}
	records, known := s.zone[strings.ToLower(q.Name.String())]
	if !known {
		answer.RCode = dnsmessage.RCodeNameError
	}
	for _, r := range records {
		switch {
		case r.Header.Type == dnsmessage.TypeSOA:
			answer.Authorities = append(answer.Authorities, r)
		case r.Header.Type == q.Type || r.Header.Type == dnsmessage.TypeCNAME || r.Header.Name.String() != q.Name.String():
			answer.Answers = append(answer.Answers, r)
		}
	}
	if s.tamper != nil {
		return s.tamper(network, query, answer)
	}
	return [][]byte{packed(answer)}
}

func packed(m dnsmessage.Message) []byte {
	b, err := m.Pack()
	if err != nil {
		return nil
	}
	return b
}

func (s *server) set(name string, records ...dnsmessage.Resource) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zone[name] = records
}

func (s *server) misbehave(tamper func(network string, query, answer dnsmessage.Message) [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tamper = tamper
}

// questions returns what was asked since it was called last.
func (s *server) questions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}

// record makes a record of a name: an address, "CNAME x.", "SRV priority weight port x." or "SOA minimum".
func record(name string, ttl uint32, body dnsmessage.ResourceBody) dnsmessage.Resource {
	r := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Class: dnsmessage.ClassINET, TTL: ttl}, Body: body}
	switch body.(type) {
	case *dnsmessage.AResource:
		r.Header.Type = dnsmessage.TypeA
	case *dnsmessage.AAAAResource:
		r.Header.Type = dnsmessage.TypeAAAA
	case *dnsmessage.CNAMEResource:
		r.Header.Type = dnsmessage.TypeCNAME
	case *dnsmessage.SRVResource:
		r.Header.Type = dnsmessage.TypeSRV
	case *dnsmessage.SOAResource:
		r.Header.Type = dnsmessage.TypeSOA
	}
	return r
}

func a(name string, ttl uint32, addr string) dnsmessage.Resource {
	parsed := netip.MustParseAddr(addr)
	if parsed.Is4() {
		return record(name, ttl, &dnsmessage.AResource{A: parsed.As4()})
	}
	return record(name, ttl, &dnsmessage.AAAAResource{AAAA: parsed.As16()})
}

func cname(name string, ttl uint32, to string) dnsmessage.Resource {
	return record(name, ttl, &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(to)})
}

func srv(name string, ttl uint32, priority, weight, port uint16, target string) dnsmessage.Resource {
	return record(name, ttl, &dnsmessage.SRVResource{Priority: priority, Weight: weight, Port: port, Target: dnsmessage.MustNewName(target)})
}

func soa(ttl, minimum uint32) dnsmessage.Resource {
	return record("test.", ttl, &dnsmessage.SOAResource{NS: dnsmessage.MustNewName("ns.test."), MBox: dnsmessage.MustNewName("root.test."), MinTTL: minimum})
}

// files writes a resolv.conf and a hosts file.
func files(t testing.TB, resolvConf, hosts string) dns.Options {
	t.Helper()
	dir := t.TempDir()
	o := dns.Options{ResolvConf: filepath.Join(dir, "resolv.conf"), HostsFile: filepath.Join(dir, "hosts")}
	for path, text := range map[string]string{o.ResolvConf: resolvConf, o.HostsFile: hosts} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return o
}
