package upstream_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/dataplane/upstream"
)

// Protocols are switched in HTTP/1.1 only: a request that asks for it goes so, beside the streams of others.
func TestUpgradeBesideStreams(t *testing.T) {
	t.Parallel()
	root := authority(t, nil, "root")
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			_, _ = io.WriteString(w, r.Proto)
			return
		}
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		line, _ := bufio.NewReader(buffered).ReadString('\n')
		_, _ = io.WriteString(conn, "you said "+line)
	}))
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{Certificates: []tls.Certificate{*named(t, root, "a.test").tls()}, NextProtos: []string{"h2", "http/1.1"}}
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	t.Cleanup(server.Close)
	p := newPools(t, client.Options{}).Pool(addrOf(server.Listener), upstream.Link{
		Protocol: upstream.Either, Security: &upstream.Security{ServerName: "a.test", Verify: true, Roots: pool(root)},
	})
	if a := ask(p, client.Head{}); a.body != "HTTP/2.0" {
		t.Fatalf("answer = %+v", a)
	}
	ex := new(exchange.Exchange)
	ex.Reset()
	ex.Request.Method, ex.Request.Upgrade = "GET", "websocket"
	if err := p.RoundTrip(t.Context(), ex, &client.Head{Target: "/", Host: "a.test", Upgrade: true}, patience); err != nil || ex.Response.Status != 101 {
		t.Fatalf("RoundTrip = %v, %d", err, ex.Response.Status)
	}
	mine, its := pipe()
	done := make(chan error, 1)
	go func() { done <- ex.Response.Tunnel.Run(its, []byte("hello\n")) }()
	if line, err := bufio.NewReader(mine).ReadString('\n'); err != nil || line != "you said hello\n" {
		t.Errorf("the tunnel gave %q, %v", line, err)
	}
	_ = mine.Close()
	<-done
	if a := ask(p, client.Head{}); a.body != "HTTP/2.0" {
		t.Errorf("answer = %+v", a)
	}
}

type duplex struct {
	io.ReadCloser
	io.WriteCloser
}

func (d duplex) Close() error {
	_ = d.ReadCloser.Close()
	return d.WriteCloser.Close()
}

func pipe() (a, b io.ReadWriteCloser) {
	ar, bw := io.Pipe()
	br, aw := io.Pipe()
	return duplex{ar, aw}, duplex{br, bw}
}

// A connection carries as many requests as it may, and rests no longer than it may.
func TestLifeOfStreamConnections(t *testing.T) {
	t.Parallel()
	root := authority(t, nil, "root")
	for name, test := range map[string]struct {
		options client.Options
		want    int64 // connections after five requests
	}{
		"for ever":          {client.Options{IdleTimeout: -1, MaxRequests: -1}, 1},
		"two requests":      {client.Options{MaxRequests: 2}, 1},
		"none is kept":      {client.Options{MaxIdle: -1}, 0},
		"idle for a moment": {client.Options{IdleTimeout: time.Millisecond}, 0},
	} {
		origin := serve(t, &tls.Config{Certificates: []tls.Certificate{*named(t, root, "a.test").tls()}, NextProtos: []string{"h2"}})
		p := newPools(t, test.options).Pool(addrOf(origin), upstream.Link{Protocol: upstream.HTTP2, Security: &upstream.Security{ServerName: "a.test", Verify: true, Roots: pool(root)}})
		for range 5 {
			if a := ask(p, client.Head{}); a.err != nil || a.body != "nobody as a.test" {
				t.Fatalf("%s: answer = %+v", name, a)
			}
		}
		eventually(t, name, func() bool { return origin.connections.Load() == test.want })
	}
}
