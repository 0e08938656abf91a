package proxy_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/proxy"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// pair makes a certificate, signed by parent or by itself, and returns it as PEM too.
func pair(t testing.TB, name string, ca bool, parent *tls.Certificate) (certificate tls.Certificate, certPEM, keyPEM string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: ca, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	signer, signerKey := template, any(key)
	if parent != nil {
		if signer, err = x509.ParseCertificate(parent.Certificate[0]); err != nil {
			t.Fatal(err)
		}
		signerKey = parent.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer, key.Public(), signerKey)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	keyPEM = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	certificate, err = tls.X509KeyPair([]byte(certPEM), []byte(keyPEM))
	if err != nil {
		t.Fatal(err)
	}
	return certificate, certPEM, keyPEM
}

func TestUpstreamTLS(t *testing.T) {
	t.Parallel()
	ca, caPEM, _ := pair(t, "ca", true, nil)
	server, _, _ := pair(t, "origin.test", false, &ca)
	_, clientPEM, clientKey := pair(t, "gate", false, &ca)
	_, otherPEM, _ := pair(t, "other", true, nil)
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM([]byte(caPEM))
	origin := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := "nobody"
		if len(r.TLS.PeerCertificates) > 0 {
			who = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		fmt.Fprint(w, who, " asked ", r.TLS.ServerName)
	}))
	origin.TLS = &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: trusted}
	origin.Config.ErrorLog = log.New(io.Discard, "", 0) // refused certificates are what is tested
	origin.StartTLS()
	t.Cleanup(origin.Close)
	address := origin.Listener.Addr().(*net.TCPAddr)
	target := address.String()
	list := []entity{
		{"ca_certificates", "ca", &configv1.CaCertificate{Cert: &caPEM}},
		{"ca_certificates", "other", &configv1.CaCertificate{Cert: &otherPEM}},
		{"certificates", "client", &configv1.Certificate{Cert: &clientPEM, Key: &clientKey}},
		{"upstreams", "u", &configv1.Upstream{Name: new("named.up"), HostHeader: new("origin.test")}},
		{"upstreams", "w", &configv1.Upstream{Name: new("wrong.up"), HostHeader: new("wrong.test")}},
		{"targets", "t", &configv1.Target{Upstream: ref("u"), Target: &target}},
		{"targets", "t2", &configv1.Target{Upstream: ref("w"), Target: &target}},
	}
	secure := func(id, host string, change func(m *configv1.Service)) {
		m := &configv1.Service{Protocol: new("https"), Host: &host, Port: new(int64(address.Port))}
		change(m)
		list = append(list, entity{"services", id, m}, route(id, id))
	}
	secure("ok", "127.0.0.1", func(m *configv1.Service) { m.CaCertificates = array("ca") })
	secure("mutual", "named.up", func(m *configv1.Service) { m.CaCertificates, m.ClientCertificate = array("ca"), ref("client") })
	secure("system", "127.0.0.1", func(*configv1.Service) {})
	secure("otherca", "127.0.0.1", func(m *configv1.Service) { m.CaCertificates = array("other") })
	secure("wrongname", "wrong.up", func(m *configv1.Service) { m.CaCertificates = array("ca") })
	secure("noverify", "wrong.up", func(m *configv1.Service) { m.TlsVerify = new(false) })
	g := newGateway(t, proxy.Options{}, list...)
	for target, want := range map[string]struct {
		status int
		body   string
	}{
		"/ok": {200, "nobody asked "}, "/mutual": {200, "gate asked origin.test"}, "/noverify": {200, "nobody asked wrong.test"},
		"/system": {502, "invalid response"}, "/otherca": {502, "invalid response"}, "/wrongname": {502, "invalid response"},
	} {
		for range 2 { // the second one goes over a kept connection or a resumed session
			if got := g.do(t, "GET", target, ""); got.status != want.status || !strings.Contains(got.body, want.body) {
				t.Errorf("%s: %d %q, want %d %q", target, got.status, got.body, want.status, want.body)
			}
		}
	}
}

func TestBodyLimit(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	g := newGateway(t, proxy.Options{MaxBody: 1000}, o.service("s"), route("r", "s"))
	if got := g.do(t, "POST", "/r", strings.Repeat("x", 1000)); got.status != 200 {
		t.Errorf("a body of the limit's size: %d", got.status)
	}
	if got := g.do(t, "POST", "/r", strings.Repeat("x", 1001)); got.status != 413 || !strings.Contains(got.body, "Payload too large") {
		t.Errorf("one byte more: %d %s", got.status, got.body)
	}
	request, _ := http.NewRequestWithContext(t.Context(), "POST", g.url+"/r", io.MultiReader(strings.NewReader(strings.Repeat("x", 1001)))) // chunked
	transport := g.engine.transport()
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != 413 {
		t.Errorf("chunked: %d", response.StatusCode)
	}
}

func TestWebSocketPassesThrough(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	o.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" || r.Header.Get("X-Forwarded-Prefix") != "/ws" {
			http.Error(w, "no upgrade", 400)
			return
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
		_ = rw.Flush()
		line, _ := rw.ReadString('\n')
		_, _ = rw.WriteString("echo " + line)
		_ = rw.Flush()
	})
	g := newGateway(t, proxy.Options{}, o.service("s"), route("ws", "s"))
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprint(conn, "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, nil)
	if err != nil || response.StatusCode != 101 {
		t.Fatalf("got %v, %v", response, err)
	}
	fmt.Fprint(conn, "hello\n")
	if line, err := reader.ReadString('\n'); line != "echo hello\n" {
		t.Fatalf("got %q, %v", line, err)
	}
}

// A tunnel that is silent for the read timeout is closed on both sides; one in use is not.
func TestSilentTunnelsEnd(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	gone := make(chan struct{})
	o.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		defer close(gone)
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
		_ = rw.Flush()
		_, _ = io.Copy(io.Discard, rw)
	})
	const silence = time.Second // a busy machine's pauses are shorter
	g := newGateway(t, proxy.Options{}, o.service("s", func(m *configv1.Service) { m.ReadTimeout = new(silence.Milliseconds()) }), route("ws", "s"))
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprint(conn, "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
	reader := bufio.NewReader(conn)
	if response, err := http.ReadResponse(reader, nil); err != nil || response.StatusCode != 101 {
		t.Fatalf("got %v, %v", response, err)
	}
	for range 8 { // one direction is enough to keep it
		time.Sleep(silence / 4)
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatalf("closed while in use: %v", err)
		}
	}
	start := time.Now()
	if _, err := reader.ReadByte(); err == nil || isTimeout(err) || time.Since(start) < silence/2 {
		t.Errorf("ended after %v: %v", time.Since(start), err)
	}
	<-gone
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout()
}

// A body larger than any buffer goes both ways, as it comes.
func TestLargeBodiesStream(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	g := newGateway(t, proxy.Options{}, o.service("s"), route("r", "s"))
	body := strings.Repeat("0123456789abcdef", 64<<10)
	if got := g.do(t, "POST", "/r/x", body); got.status != 200 || got.body != "POST /x "+body {
		t.Fatalf("got %d, %d bytes", got.status, len(got.body))
	}
}

// A request that the engine refuses gets an answer of the usual form and a line in the log.
func TestMalformedRequests(t *testing.T) {
	t.Parallel()
	g := newGateway(t, proxy.Options{})
	for request, want := range map[string]string{
		"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nAccept: application/json\r\n\r\n": "HTTP/1.1 400 ",
		"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n":                                "HTTP/1.1 501 ",
		"GET / HTTP/1.1\r\nHost: a\r\nExpect: magic\r\n\r\n":                       "HTTP/1.1 417 ",
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		fmt.Fprint(conn, request)
		got, _ := io.ReadAll(conn)
		_ = conn.Close()
		if !strings.HasPrefix(string(got), want) || !strings.Contains(string(got), "request_id") || !strings.Contains(string(got), "Server: keepgate/1.2.3") {
			t.Errorf("%q: %s", request, got)
		}
	}
	for start := time.Now(); time.Since(start) < 2*time.Second; time.Sleep(10 * time.Millisecond) {
		if g.flush(); strings.Count(g.log.String(), "\n") == 3 {
			return
		}
	}
	t.Errorf("the log has %q", g.log.String())
}
