package e2e_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
)

// Whoever proved who he is for one host is nobody on another one, however the client reuses what it has: resumed
// sessions, connections shared by several hosts, server names that are not those of the request.
func TestMutualTLSMatrix(t *testing.T) {
	t.Parallel()
	c, upstream, keys := harness.New(t), harness.NewUpstream(t), newPKI(t)
	keys.authority("ca-a")
	keys.authority("ca-b")
	keys.authority("ca-c")
	keys.issue("ca-a", "alice", "/CN=alice", "")
	keys.issue("ca-b", "bob", "/CN=bob", "")
	cp := c.ControlPlane("cp")
	cp.Start()
	dp := c.DataPlane("edge", cp)
	dp.Launch()
	m := &matrix{t: t, cp: cp, dp: dp, upstream: upstream, keys: keys}
	m.push("ca-a", "ca-b")
	dp.Await(200, "/", "Host", "open.example")
	harness.Eventually(t, "the policies", func() string {
		answer, _ := m.get(m.client("alice", "a.example", 1), "a.example")
		if answer.Status != 200 {
			return fmt.Sprintf("%d %s", answer.Status, answer.Body)
		}
		return ""
	})
	for _, test := range []struct {
		name, cert, sni, host string
		status                int
		user                  string
	}{
		{"its own host", "alice", "a.example", "a.example", 200, "alice"},
		{"the other strict host", "bob", "b.example", "b.example", 200, "bob"},
		{"a certificate of the other authority", "bob", "a.example", "a.example", 401, ""},
		{"no certificate", "", "a.example", "a.example", 401, ""},
		{"another host of the wildcard, no certificate", "", "y.wild.example", "y.wild.example", 401, ""},
		{"SNI of A, host of B", "alice", "a.example", "b.example", 421, ""},
		{"SNI of B, host of A", "bob", "b.example", "a.example", 421, ""},
		{"SNI of the open host, strict host", "alice", "open.example", "a.example", 421, ""},
		{"SNI of a strict host, open host", "alice", "a.example", "open.example", 421, ""},
		{"open host", "alice", "open.example", "open.example", 200, ""},
		{"wildcard", "alice", "x.wild.example", "x.wild.example", 200, "alice"},
		{"wildcard, another host of it", "alice", "x.wild.example", "y.wild.example", 200, "alice"},
		{"SNI of the wildcard, host of A: the same policy, and no route", "alice", "x.wild.example", "a.example", 404, ""},
		{"two labels under the wildcard", "alice", "x.y.wild.example", "x.y.wild.example", 200, "alice"},
		{"no SNI, strict host", "alice", "", "a.example", 421, ""},
		{"no SNI, open host", "alice", "", "open.example", 200, ""},
		{"unknown SNI, strict host", "alice", "nobody.example", "b.example", 421, ""},
		{"trailing dot", "alice", "a.example", "a.example.", 200, "alice"},
		{"trailing dot of another host", "alice", "a.example", "b.example.", 421, ""},
		{"port in Host", "alice", "a.example", "a.example:8443", 200, "alice"},
		{"port in another Host", "alice", "a.example", "b.example:8443", 421, ""},
		{"upper case", "alice", "a.example", "A.EXAMPLE", 200, "alice"},
	} {
		for _, version := range []int{1, 2} {
			m.check(fmt.Sprintf("%s by HTTP/%d", test.name, version), m.client(test.cert, test.sni, version), test.host, test.status, test.user)
		}
	}
	m.coalesced()
	m.resumed()
	m.swapped()
}

type matrix struct {
	t        *testing.T
	cp       *harness.ControlPlane
	dp       *harness.DataPlane
	upstream *harness.Upstream
	keys     *pki
}

// push makes two strict hosts, a strict wildcard under the first one's authority, and an open host.
func (m *matrix) push(first, second string) {
	m.t.Helper()
	const a, b = "0a000000-0000-4000-8000-000000000001", "0b000000-0000-4000-8000-000000000002"
	m.cp.Admin().Push(fmt.Sprintf(`_format_version: "3.0"
ca_certificates:
- id: %[1]s
  cert: |
      %[3]s
- id: %[2]s
  cert: |
      %[4]s
consumers: [{username: alice}, {username: bob}]
services:
- name: s
  url: %[5]s
  routes:
  - {name: a, hosts: [a.example], snis: [a.example], protocols: [https], plugins: [{name: mtls-auth, config: {ca_certificates: [%[1]s], revocation_check_mode: SKIP}}]}
  - {name: b, hosts: [b.example], snis: [b.example], protocols: [https], plugins: [{name: mtls-auth, config: {ca_certificates: [%[2]s], revocation_check_mode: SKIP}}]}
  - {name: wild, hosts: ["*.wild.example"], snis: ["*.wild.example", a.example], protocols: [https], plugins: [{name: mtls-auth, config: {ca_certificates: [%[1]s], revocation_check_mode: SKIP}}]}
  - {name: open, hosts: [open.example]}
`, a, b, indented(m.keys.read(first+".crt")), indented(m.keys.read(second+".crt")), m.upstream.URL))
}

// client shows a certificate (to whoever asks for one) under a server name, "" for none, and may resume sessions.
func (m *matrix) client(cert, sni string, version int) *http.Client {
	config := &tls.Config{InsecureSkipVerify: true, ServerName: sni, ClientSessionCache: tls.NewLRUClientSessionCache(4)} // the self-signed default
	if cert != "" {
		config.Certificates = []tls.Certificate{m.keys.pair(cert)}
	}
	if sni == "" {
		config.ServerName = "127.0.0.1" // addresses are no server names: none is sent
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(version == 1)
	protocols.SetHTTP2(version == 2)
	transport := &http.Transport{TLSClientConfig: config, Protocols: protocols}
	m.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: harness.Patience}
}

func (m *matrix) get(by *http.Client, host string) (harness.Answer, error) {
	request, err := http.NewRequest(http.MethodGet, "https://"+m.dp.TLS+"/", http.NoBody)
	if err != nil {
		return harness.Answer{}, err
	}
	request.Host = host
	return harness.Send(by, request)
}

// check asks for a host and compares who the upstream was told it is; "" for nobody.
func (m *matrix) check(name string, by *http.Client, host string, status int, user string) {
	m.t.Helper()
	answer, err := m.get(by, host)
	if err != nil || answer.Status != status {
		m.t.Errorf("%s: %d %s, %v; want %d", name, answer.Status, answer.Body, err, status)
		return
	}
	if status != 200 {
		return
	}
	if got := harness.EchoOf(m.t, answer).Header.Get("X-Consumer-Username"); got != user {
		m.t.Errorf("%s: the upstream was told %q, want %q", name, got, user)
	}
}

// coalesced sends requests for several hosts over one connection, as browsers do where a certificate covers both.
func (m *matrix) coalesced() {
	by := m.client("alice", "a.example", 2)
	for _, step := range []struct {
		host   string
		status int
		user   string
	}{{"a.example", 200, "alice"}, {"b.example", 421, ""}, {"open.example", 421, ""}, {"x.wild.example", 200, "alice"}, {"a.example", 200, "alice"}} {
		m.check("one connection, "+step.host, by, step.host, step.status, step.user)
	}
}

// resumed takes the session of one host to another one.
func (m *matrix) resumed() {
	cache := tls.NewLRUClientSessionCache(4)
	connect := func(sni string) *tls.Conn {
		m.t.Helper()
		connection, err := tls.Dial("tcp", m.dp.TLS, &tls.Config{
			InsecureSkipVerify: true, ServerName: sni, ClientSessionCache: oneSession{cache}, Certificates: []tls.Certificate{m.keys.pair("alice")},
		})
		if err != nil {
			m.t.Fatal(err)
		}
		return connection
	}
	ask := func(connection net.Conn, host string) string {
		m.t.Helper()
		defer connection.Close()
		if _, err := fmt.Fprintf(connection, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host); err != nil {
			m.t.Fatal(err)
		}
		text, err := io.ReadAll(connection)
		if err != nil {
			m.t.Fatal(err)
		}
		return string(text)
	}
	if text := ask(connect("a.example"), "a.example"); !strings.HasPrefix(text, "HTTP/1.1 200") || !strings.Contains(text, "alice") {
		m.t.Fatalf("the first connection: %.200s", text)
	}
	again := connect("a.example")
	if text := ask(again, "a.example"); !again.ConnectionState().DidResume || !strings.Contains(text, "alice") {
		m.t.Errorf("resumed %v for its own host: %.200s", again.ConnectionState().DidResume, text)
	}
	for _, sni := range []string{"b.example", "open.example"} {
		foreign := connect(sni)
		if text := ask(foreign, sni); foreign.ConnectionState().DidResume || strings.Contains(text, "alice") {
			m.t.Errorf("the session of a.example at %s: resumed %v: %.200s", sni, foreign.ConnectionState().DidResume, text)
		}
	}
}

// oneSession keeps one session for every server.
type oneSession struct{ tls.ClientSessionCache }

func (o oneSession) Get(string) (*tls.ClientSessionState, bool) {
	return o.ClientSessionCache.Get("the one")
}

func (o oneSession) Put(_ string, session *tls.ClientSessionState) {
	if session != nil { // refused ones would be forgotten
		o.ClientSessionCache.Put("the one", session)
	}
}

// swapped exchanges what a.example believes: a connection that is open, and sessions, are worth nothing from then on.
func (m *matrix) swapped() {
	by, other := m.client("alice", "a.example", 2), m.client("alice", "a.example", 1)
	m.check("before the change", by, "a.example", 200, "alice")
	m.check("before the change", other, "a.example", 200, "alice")
	m.push("ca-b", "ca-c")
	harness.Eventually(m.t, "the new policy", func() string {
		answer, err := m.get(m.client("bob", "a.example", 1), "a.example")
		if err != nil || answer.Status != 200 {
			return fmt.Sprintf("%d %s %v", answer.Status, answer.Body, err)
		}
		return ""
	})
	m.check("an open connection after the change", by, "a.example", 421, "")
	m.check("an open connection after the change", other, "a.example", 421, "")
	m.check("the same client once more", other, "a.example", 401, "")
}
