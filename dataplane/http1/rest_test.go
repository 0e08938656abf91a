package http1_test

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/http1"
	"github.com/keepgate/keepgate/dataplane/http1/http1test"
)

// A connection under TLS that was silent for long serves on, however its next request comes, and ends when it is silent for too long.
func TestRest(t *testing.T) {
	t.Parallel()
	const rest = 5 * time.Millisecond
	tests := map[string]struct {
		before []string // requests
		pieces []string // of a request, each in a record of its own
		idle   time.Duration
	}{
		"before the first request": {nil, []string{get}, 0},
		"after one":                {[]string{get}, []string{get}, 0},
		"in pieces":                {[]string{get}, []string{get[:1], get[1:9], get[9:]}, 0},
		"for too long":             {[]string{get}, nil, 3 * time.Second},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy := http1test.NewProxy(t, http1test.NewOrigin(t).Addr)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			engine := http1.New(proxy, http1.Options{IdleTimeout: test.idle, RestAfter: rest, WatchAfter: rest})
			ended := make(chan error, 1)
			go func() { ended <- engine.Serve(tls.NewListener(l, tlsConfig())) }()
			nc, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				t.Fatal(err)
			}
			_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
			c := http1test.Over(t, nc)
			ask := func(pieces ...string) {
				for i, piece := range pieces {
					if i > 0 {
						time.Sleep(2 * rest)
					}
					c.Send(piece)
				}
				if _, body := c.Response("GET"); body != "hello /a" {
					t.Fatalf("%q", body)
				}
			}
			for _, request := range test.before {
				ask(request)
			}
			begin := time.Now()
			if test.idle > 0 {
				c.Closed()
				if took := time.Since(begin); took < test.idle {
					t.Errorf("closed after %v", took)
				}
			} else {
				for range 20 { // around the moment at which it is sent to rest, too
					time.Sleep(time.Duration(time.Since(begin)) % (4 * rest))
					ask(test.pieces...)
				}
				c.Close()
			}
			_ = l.Close()
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
		})
	}
}
