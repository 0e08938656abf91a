package http1_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1"
	"github.com/keepgate/keepgate/dataplane/http1/http1test"
)

// tlsConfig borrows the standard library's test certificate.
func tlsConfig() *tls.Config {
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	defer server.Close()
	return &tls.Config{Certificates: server.TLS.Certificates}
}

func TestUnderTLS(t *testing.T) {
	t.Parallel()
	origin := http1test.NewOrigin(t)
	proxy := http1test.NewProxy(t, origin.Addr)
	proxy.Local = func(ex *exchange.Exchange) bool {
		if ex.Request.Scheme != "https" || ex.Request.SNI() != "name.test" {
			t.Errorf("scheme %q, server name %q", ex.Request.Scheme, ex.Request.SNI())
		}
		return false
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	engine := http1.New(proxy, http1.Options{})
	ended := make(chan error, 1)
	go func() { ended <- engine.Serve(tls.NewListener(l, tlsConfig())) }()
	nc, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{ServerName: "name.test", InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	_ = nc.SetDeadline(time.Now().Add(5 * time.Second))
	c := http1test.Over(t, nc)
	for i := range 5 {
		c.Send(fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i))
		if _, body := c.Response("GET"); body != fmt.Sprintf("hello /%d", i) {
			t.Fatalf("%q", body)
		}
	}
	large := strings.Repeat("x", 200_000)
	go io.WriteString(nc, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n"+large)
	if _, body := c.Response("POST"); body != large {
		t.Fatalf("%d bytes", len(body))
	}
	for _, piece := range []string{"G", "ET /pieces HTT", "P/1.1\r\nHost: a\r\n\r", "\n"} { // a record each
		c.Send(piece)
	}
	if _, body := c.Response("GET"); body != "hello /pieces" {
		t.Fatalf("%q", body)
	}
	c.Send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
	seen := func() int { return len(origin.Seen()) }
	for before := 7; seen() == before; {
		time.Sleep(time.Millisecond)
	}
	c.Close() // while the request is held: noticed under TLS too
	done := proxy.Await(t, 8)
	if last := done[len(done)-1]; last.Status != 499 {
		t.Fatalf("%+v", last)
	}
	_ = l.Close()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}
