package http2server_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/keepgate/keepgate/dataplane/http1/http1test"
	"github.com/keepgate/keepgate/dataplane/http2server"
)

// rests waits until the server's only connection has no goroutine.
func rests(t *testing.T, server *http2server.Server) {
	t.Helper()
	for deadline := time.Now().Add(patience); server.Resting() != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the connection does not rest")
		}
	}
}

// A connection that rests is as good as before.
func TestRest(t *testing.T) {
	t.Parallel()
	server := http2server.New(newAnswers(), http2server.Options{RestAfter: time.Millisecond})
	r := greeted(t, http1test.Start(t, server))
	for id := uint32(1); id < 8; id += 2 {
		rests(t, server)
		r.open(id, true, request("GET", "/host", "cookie", "a=1", "cookie", "b=2")...)
		if got := r.next(); got != "head "+itoa(id)+" 200" {
			t.Fatal(got)
		}
		if got := r.next(); got != "end "+itoa(id) || r.body.String() != "a.test a=1; b=2" {
			t.Fatal(got, r.body.String())
		}
	}
	if _, err := io.WriteString(r.nc, "x"); err != nil {
		t.Fatal(err)
	}
}

// What ends a connection ends one that rests, whether or not a request of it is served meanwhile.
func TestRestEnds(t *testing.T) {
	t.Parallel()
	hold := func(r *raw) { r.open(1, true, request("GET", "/hold")...) }
	tests := map[string]struct {
		before func(r *raw)
		idle   time.Duration
		end    func(r *raw, server *http2server.Server)
		want   string
	}{
		"nobody has spoken for too long": {nil, time.Second, nil, "bye NO_ERROR, closed"},
		"the server stops":               {nil, 0, func(_ *raw, s *http2server.Server) { _ = s.Shutdown(context.Background()) }, "bye NO_ERROR, closed"},
		"the server stops for good": {hold, 0, func(_ *raw, s *http2server.Server) {
			gone, cancel := context.WithCancel(context.Background())
			cancel()
			_ = s.Shutdown(gone)
		}, "closed"},
		"the client says good-bye":   {nil, 0, func(r *raw, _ *http2server.Server) { _ = r.WriteGoAway(0, 0, nil) }, "bye NO_ERROR, closed"},
		"the client gives up a call": {hold, time.Second, func(r *raw, _ *http2server.Server) { _ = r.WriteRSTStream(1, http2.ErrCodeCancel) }, "bye NO_ERROR, closed"},
		"the client breaks the rules": {hold, 0, func(r *raw, _ *http2server.Server) {
			r.frame(0, 1, 0, "x")
		}, "bye PROTOCOL_ERROR, closed"},
		"the client leaves": {hold, 0, func(r *raw, _ *http2server.Server) { _ = r.nc.Close() }, "closed"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := http2server.New(newAnswers(), http2server.Options{RestAfter: time.Millisecond, IdleTimeout: test.idle})
			r := greeted(t, http1test.Start(t, server))
			if test.before != nil {
				test.before(r)
			}
			rests(t, server)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				if test.end != nil {
					test.end(r, server)
				}
			}()
			got := r.next()
			for all := got; all != "closed" && all != "silence"; got += ", " + all {
				all = r.next()
			}
			if !strings.HasSuffix(got, test.want) {
				t.Errorf("%s, want %s", got, test.want)
			}
			<-ended
			for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
				if open, _ := server.Connections(); open == 0 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("the connection is still open")
				}
			}
		})
	}
}
