package listener_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1"
	"github.com/keepgate/keepgate/dataplane/http1/std"
	"github.com/keepgate/keepgate/dataplane/http2server"
	"github.com/keepgate/keepgate/dataplane/listener"
	"github.com/keepgate/keepgate/shared/selfsigned"
	"github.com/keepgate/keepgate/shared/settings/values"
)

// handler says what it saw; "/hold" waits for hold.
type handler struct{ entered, hold chan struct{} }

func (h handler) Serve(ex *exchange.Exchange) {
	if ex.Request.Path == "/hold" {
		h.entered <- struct{}{}
		<-h.hold
	}
	r := &ex.Request
	ex.Response.Header.Set("X-Seen", ex.Join(r.Scheme, " ", r.SNI(), " ", string('0'+rune(r.Major))))
	ex.Response.Header.Set("X-Peer", ex.Join(r.Remote.String(), " ", r.Local.String(), " ", r.ClientAddr.String(), " ", r.Handshake))
	ex.Answer(200, "text/plain", []byte("ok"))
}

func (handler) Finish(*exchange.Exchange) {}

type fixture struct {
	*listener.Listener
	handler handler
	addrs   []string
	stop    func() error
}

// start runs a Listener with both engines; native=false leaves the standard one alone.
func start(t *testing.T, native bool, text string, options listener.Options) fixture {
	t.Helper()
	var specs values.Listen
	if err := specs.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	h := handler{make(chan struct{}), make(chan struct{})}
	l := listener.New(specs, options)
	if native {
		l.Attach(http1.New(h, http1.Options{Preface: l.HandOver}), http2server.New(h, http2server.Options{}))
	} else {
		l.Attach(nil, std.New(h, std.Options{}))
	}
	if err := l.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	stopped := false
	f := fixture{Listener: l, handler: h, stop: func() error {
		stopped = true
		cancel()
		return <-ended
	}}
	t.Cleanup(func() {
		if !stopped {
			if err := f.stop(); err != nil {
				t.Errorf("Run: %v", err)
			}
		}
	})
	for _, a := range l.Addrs() {
		f.addrs = append(f.addrs, a.String())
	}
	return f
}

func always(cert *tls.Certificate) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil }
}

func client(addr, serverName string, roots *x509.CertPool, protocols func(*http.Protocols)) *http.Client {
	p := new(http.Protocols)
	protocols(p)
	transport := &http.Transport{
		Protocols:         p,
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: roots, ServerName: serverName, InsecureSkipVerify: roots == nil},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	}
	return &http.Client{Transport: transport, Timeout: 5 * time.Second}
}

func TestProtocols(t *testing.T) {
	t.Parallel()
	cert, _, err := selfsigned.Load(t.TempDir(), "default")
	if err != nil {
		t.Fatal(err)
	}
	for name, native := range map[string]bool{"native": true, "std": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, native, "127.0.0.1:0 http2 reuseport backlog=100 deferred, 127.0.0.1:0 ssl http2, 127.0.0.1:0 ssl", listener.Options{Certificate: always(&cert)})
			tests := map[string]struct {
				addr, url, want string
				protocols       func(*http.Protocols)
			}{
				"HTTP/1.1 in clear":  {f.addrs[0], "http://x.test/", "http  1", func(p *http.Protocols) { p.SetHTTP1(true) }},
				"h2c":                {f.addrs[0], "http://x.test/", "http  2", func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }},
				"HTTP/1.1 by TLS":    {f.addrs[1], "https://x.test/", "https x.test 1", func(p *http.Protocols) { p.SetHTTP1(true) }},
				"HTTP/2 by TLS":      {f.addrs[1], "https://x.test/", "https x.test 2", func(p *http.Protocols) { p.SetHTTP2(true) }},
				"TLS without http2":  {f.addrs[2], "https://x.test/", "https x.test 1", func(p *http.Protocols) { p.SetHTTP1(true); p.SetHTTP2(true) }},
				"the better of both": {f.addrs[1], "https://x.test/", "https x.test 2", func(p *http.Protocols) { p.SetHTTP1(true); p.SetHTTP2(true) }},
			}
			for name, test := range tests {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					resp, err := client(test.addr, "x.test", nil, test.protocols).Get(test.url)
					if err != nil {
						t.Fatal(err)
					}
					defer resp.Body.Close()
					if body, _ := io.ReadAll(resp.Body); string(body) != "ok" || resp.Header.Get("X-Seen") != test.want {
						t.Fatalf("%q, seen %q, want %q", body, resp.Header.Get("X-Seen"), test.want)
					}
				})
			}
		})
	}
}

func TestCertificateBySNI(t *testing.T) {
	t.Parallel()
	fallback, _, err := selfsigned.Load(t.TempDir(), "default")
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := selfsigned.Load(t.TempDir(), "default")
	if err != nil {
		t.Fatal(err)
	}
	f := start(t, true, "127.0.0.1:0 ssl", listener.Options{
		Certificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if hello.ServerName == "other.test" {
				return &other, nil
			}
			return &fallback, nil
		},
	})
	for name, want := range map[string]*tls.Certificate{"other.test": &other, "unknown.test": &fallback, "": &fallback} {
		nc, err := tls.Dial("tcp", f.addrs[0], &tls.Config{ServerName: name, InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		if got := nc.ConnectionState().PeerCertificates[0]; string(got.Raw) != string(want.Certificate[0]) {
			t.Errorf("%q: another certificate", name)
		}
		_ = nc.Close()
	}
	if _, err := tls.Dial("tcp", f.addrs[0], &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10, InsecureSkipVerify: true}); err == nil {
		t.Error("TLS 1.1 was served")
	}
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout()
}

func TestPrefaceOnASocketWithoutHTTP2(t *testing.T) {
	t.Parallel()
	f := start(t, true, "127.0.0.1:0", listener.Options{})
	nc, err := net.Dial("tcp", f.addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(5 * time.Second))
	_, _ = io.WriteString(nc, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	if got, err := io.ReadAll(nc); len(got) > 0 || isTimeout(err) {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestDraining(t *testing.T) {
	t.Parallel()
	f := start(t, true, "127.0.0.1:0", listener.Options{})
	dial := func() (net.Conn, *bufio.Reader) {
		nc, err := net.Dial("tcp", f.addrs[0])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = nc.Close() })
		_ = nc.SetDeadline(time.Now().Add(5 * time.Second))
		return nc, bufio.NewReader(nc)
	}
	idle, idleReader := dial()
	_, _ = io.WriteString(idle, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if resp, err := http.ReadResponse(idleReader, nil); err != nil || resp.Close {
		t.Fatalf("%v, %v", resp, err)
	} else {
		_, _ = io.ReadAll(resp.Body)
	}
	busy, busyReader := dial()
	_, _ = io.WriteString(busy, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
	<-f.handler.entered

	ended := make(chan error, 1)
	go func() { ended <- f.stop() }()
	if rest, err := io.ReadAll(idleReader); len(rest) > 0 || isTimeout(err) {
		t.Fatalf("the idle connection stays: %q, %v", rest, err)
	}
	select {
	case err := <-ended:
		t.Fatalf("Run ended before the request: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if _, err := net.Dial("tcp", f.addrs[0]); err == nil {
		t.Fatal("still accepting")
	}
	f.handler.hold <- struct{}{}
	resp, err := http.ReadResponse(busyReader, nil)
	if err != nil || resp.StatusCode != 200 || !resp.Close {
		t.Fatalf("the request in flight was lost: %v, %v", resp, err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// Who connected and has not asked for anything yet does not keep a process from stopping.
func TestDrainingDoesNotWaitForHandshakes(t *testing.T) {
	t.Parallel()
	cert, _, err := selfsigned.Load(t.TempDir(), "default")
	if err != nil {
		t.Fatal(err)
	}
	f := start(t, true, "127.0.0.1:0 ssl, 127.0.0.1:0 proxy_protocol", listener.Options{Certificate: always(&cert), HandshakeTimeout: time.Hour})
	var silent []net.Conn
	for i, begin := range []string{"", "\x16\x03\x01\x02\x00\x01", "", "PROXY TCP4 "} {
		nc, err := net.Dial("tcp", f.addrs[i/2])
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
		_, _ = io.WriteString(nc, begin)
		silent = append(silent, nc)
	}
	ended := make(chan error, 1)
	go func() { ended <- f.stop() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("still waiting")
	}
	for i, nc := range silent {
		if _, err := io.ReadAll(nc); isTimeout(err) {
			t.Errorf("connection %d stays open", i)
		}
	}
}

func TestOpenAllOrNone(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	l := listener.New([]values.Listener{{Address: "127.0.0.1:0"}, {Address: taken.Addr().String()}}, listener.Options{})
	if err := l.Open(t.Context()); err == nil || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Fatalf("Open = %v", err)
	}
	if len(l.Addrs()) != 0 {
		t.Fatal("a socket stayed open")
	}
}
