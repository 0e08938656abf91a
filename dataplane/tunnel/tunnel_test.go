package tunnel_test

import (
	"bufio"
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/tunnel"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

const credentials = "proxy-user:can%40ary"

// forward is a real proxy for CONNECT. It answers with status instead, when that is not 0.
type forward struct {
	status int
	wants  string // of Proxy-Authorization
	eager  bool   // the first bytes of the target come with its answer
	opened *atomic.Int64
}

func (f *forward) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method != http.MethodConnect:
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	case f.wants != "" && r.Header.Get("Proxy-Authorization") != f.wants:
		w.Header().Set("Proxy-Authenticate", "Basic")
		w.WriteHeader(http.StatusProxyAuthRequired)
		return
	case f.status != 0:
		w.WriteHeader(f.status)
		return
	}
	target, err := net.Dial("tcp", r.Host)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer target.Close()
	if f.opened != nil {
		f.opened.Add(1)
	}
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer client.Close()
	answer := []byte("HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
	if f.eager {
		early := make([]byte, 64)
		n, _ := target.Read(early)
		answer = append(answer, early[:n]...)
	}
	if _, err := client.Write(answer); err != nil {
		return
	}
	go func() { _, _ = io.Copy(target, buffered); _ = target.(*net.TCPConn).CloseWrite() }() // ends with the client
	_, _ = io.Copy(client, target)
}

// echo greets, and then says what it hears.
func echo(t *testing.T, network, address string) string {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatalf("listening on %s: %v", network, err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); _, _ = io.WriteString(c, "hello\n"); _, _ = io.Copy(c, c) }()
		}
	}()
	return l.Addr().String()
}

func talk(t *testing.T, conn net.Conn) {
	t.Helper()
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "over the tunnel\n"); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(conn)
	for _, want := range []string{"hello\n", "over the tunnel\n"} {
		if got, err := reader.ReadString('\n'); err != nil || got != want {
			t.Fatalf("heard %q, %v; want %q", got, err, want)
		}
	}
}

func TestDialThroughAProxy(t *testing.T) {
	t.Parallel()
	const header = "Basic cHJveHktdXNlcjpjYW5AYXJ5" // proxy-user:can@ary
	tests := map[string]struct {
		tls    bool
		user   string
		proxy  forward
		target string
	}{
		"in clear":                   {},
		"over TLS":                   {tls: true},
		"with a password":            {user: credentials + "@", proxy: forward{wants: header}},
		"with a password over TLS":   {tls: true, user: credentials + "@", proxy: forward{wants: header}},
		"bytes come with the answer": {proxy: forward{eager: true}},
		"to an IPv6 address":         {target: "[::1]:0"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target := "127.0.0.1:0"
			if test.target != "" {
				target = test.target
			}
			address := echo(t, "tcp", target)
			test.proxy.opened = new(atomic.Int64)
			server := httptest.NewUnstartedServer(&test.proxy)
			options := tunnel.Options{}
			if test.tls {
				server.StartTLS()
				options.Roots = x509.NewCertPool()
				options.Roots.AddCert(server.Certificate())
			} else {
				server.Start()
			}
			defer server.Close()
			scheme, host, _ := strings.Cut(server.URL, "://")
			p, err := tunnel.New(secret.Take([]byte(scheme+"://"+test.user+host)), options)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := p.Dial(t.Context(), address)
			if err != nil {
				t.Fatal(err)
			}
			talk(t, conn)
			if n := test.proxy.opened.Load(); n != 1 {
				t.Errorf("%d tunnels were opened", n)
			}
		})
	}
}

func TestRefusalsAreNamedWithoutThePassword(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		proxy forward
		user  string
		want  string
	}{
		"wants a password": {forward{wants: "Basic x"}, "", "wants a user and password"},
		"another password": {forward{wants: "Basic x"}, credentials + "@", "does not accept the user and password"},
		"not allowed":      {forward{status: 403}, credentials + "@", "does not allow a tunnel to cp.example:8005 (403)"},
		"not reached":      {forward{status: 502}, credentials + "@", "cannot reach cp.example:8005 (502)"},
		"too late":         {forward{status: 504}, "", "cannot reach cp.example:8005 (504)"},
		"something else":   {forward{status: 418}, "", "answers 418"},
		"a page instead":   {forward{status: 302}, "", "answers 302"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(&test.proxy)
			defer server.Close()
			p, err := tunnel.New(secret.Take([]byte("http://"+test.user+strings.TrimPrefix(server.URL, "http://"))), tunnel.Options{})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			conn, err := p.Dial(ctx, "cp.example:8005")
			if err == nil {
				conn.Close()
				t.Fatal("a tunnel was opened")
			}
			text := fmt.Sprintf("%v %+v %#v", err, err, p)
			if !strings.Contains(text, test.want) || !strings.Contains(text, p.Address()) {
				t.Errorf("Dial = %v, want %q", err, test.want)
			}
			for _, canary := range []string{"can%40ary", "can@ary", "cHJveHktdXNlcjpjYW5AYXJ5"} {
				if strings.Contains(text, canary) {
					t.Errorf("the password shows: %s", text)
				}
			}
		})
	}
}

func TestAnHTTPSProxyIsVerified(t *testing.T) {
	t.Parallel()
	address := echo(t, "tcp", "127.0.0.1:0")
	server := httptest.NewTLSServer(&forward{})
	defer server.Close()
	dial := func(options tunnel.Options) (net.Conn, error) {
		p, err := tunnel.New(secret.Take([]byte(server.URL)), options)
		if err != nil {
			t.Fatal(err)
		}
		return p.Dial(t.Context(), address)
	}
	if conn, err := dial(tunnel.Options{Roots: x509.NewCertPool()}); err == nil {
		conn.Close()
		t.Error("a proxy of an unknown authority was believed")
	} else if !strings.Contains(err.Error(), "proxy_server_ssl_verify") {
		t.Errorf("Dial = %v", err)
	}
	conn, err := dial(tunnel.Options{Roots: x509.NewCertPool(), Insecure: true})
	if err != nil {
		t.Fatal(err)
	}
	talk(t, conn)
}

// A proxy that never answers, or never stops answering, is left.
func TestSlowAndEndlessProxies(t *testing.T) {
	t.Parallel()
	for name, serve := range map[string]func(net.Conn){
		"silent": func(net.Conn) {},
		"endless": func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for i := 0; ; i++ {
				if _, err := fmt.Fprintf(c, "X-%d: %s\r\n", i, strings.Repeat("x", 1000)); err != nil {
					return
				}
			}
		},
		"no HTTP": func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-x\r\n\r\n") },
		"closes":  func(c net.Conn) { c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				serve(c)
				_, _ = io.Copy(io.Discard, c) // until the other side has gone
			}()
			p, err := tunnel.New(secret.Take([]byte("http://"+l.Addr().String())), tunnel.Options{})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if conn, err := p.Dial(ctx, "a:1"); err == nil {
				conn.Close()
				t.Error("a tunnel was opened")
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "proxy:8080", "socks5://p:1", "http://", "http://:80", "http://p:1/path", "http://p:1?x=1", "http://u:canary@p:x", "http://u:can ary%@p:1", "http://u:canary@"} {
		p, err := tunnel.New(secret.Take([]byte(text)), tunnel.Options{})
		if fault.KindOf(err) != fault.Invalid || p != nil {
			t.Errorf("%q: %v, %v", text, p, err)
		}
		if strings.Contains(fmt.Sprint(err), "canary") {
			t.Errorf("the password shows: %v", err)
		}
	}
	for text, want := range map[string]string{"http://p": "p:80", "https://p/": "p:443", "http://[::1]:3128": "[::1]:3128", " http://p:1\n": "p:1"} {
		p, err := tunnel.New(secret.Take([]byte(text)), tunnel.Options{})
		if err != nil || p.Address() != want {
			t.Errorf("%q: %v, %v", text, p, err)
		}
	}
}
