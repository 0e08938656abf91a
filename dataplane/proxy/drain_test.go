package proxy_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// holding is an upstream that answers when it is told to.
func holding(t *testing.T) (service entity, entered chan struct{}, release func()) {
	t.Helper()
	entered, held := make(chan struct{}, 10), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			entered <- struct{}{}
			<-held
		}
		_, _ = io.WriteString(w, "whole")
	}))
	t.Cleanup(server.Close)
	addr := netip.MustParseAddrPort(server.Listener.Addr().String())
	m := &configv1.Service{Protocol: new("http"), Host: new(addr.Addr().String()), Port: new(int64(addr.Port()))}
	return entity{"services", "s", m}, entered, func() { close(held) }
}

// A gate that stops answers what it has begun, by HTTP/1.1 and HTTP/2, and takes nothing new; idle connections end at once.
func TestDrainingFinishesWhatHasBegun(t *testing.T) {
	t.Parallel()
	for _, on := range []engine{native, standard, http2} {
		t.Run(string(on), func(t *testing.T) {
			t.Parallel()
			service, entered, release := holding(t)
			g := newLimitedGate(t, on, limits{drain: patience}, service, route("all", "s", func(m *configv1.Route) { m.Paths = array("/") }))
			idle, transport := on.transport(), on.transport()
			defer idle.CloseIdleConnections()
			defer transport.CloseIdleConnections()
			get := func(with *http.Transport, path string) (string, error) {
				resp, err := with.RoundTrip(must(http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+g.clear+path, nil)))
				if err != nil {
					return "", err
				}
				defer resp.Body.Close()
				content, err := io.ReadAll(resp.Body)
				return string(content), err
			}
			if got, err := get(idle, "/"); got != "whole" || err != nil {
				t.Fatalf("%q, %v", got, err)
			}
			answer := make(chan error, 1)
			go func() {
				got, err := get(transport, "/hold")
				if err == nil && got != "whole" {
					t.Errorf("%q", got)
				}
				answer <- err
			}()
			<-entered
			stopped := make(chan error, 1)
			go func() { stopped <- g.stop() }()
			for start := time.Now(); ; time.Sleep(time.Millisecond) {
				nc, err := net.Dial("tcp", g.clear)
				if err != nil {
					break
				}
				_ = nc.Close()
				if time.Since(start) > patience {
					t.Fatal("still accepting")
				}
			}
			for start := time.Now(); ; {
				if _, err := get(idle, "/"); err != nil {
					break
				}
				if time.Since(start) > patience {
					t.Fatal("an idle connection is kept")
				}
			}
			select {
			case err := <-stopped:
				t.Fatalf("stopped before the answer: %v", err)
			case err := <-answer:
				t.Fatalf("answered before its time: %v", err)
			default:
			}
			release()
			if err := <-answer; err != nil {
				t.Errorf("the request in flight: %v", err)
			}
			if err := <-stopped; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
}

// What does not end in time is cut, and the gate stops.
func TestDrainingHasAnEnd(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, on engine) {
		service, entered, release := holding(t)
		defer release()
		g := newLimitedGate(t, on, limits{drain: 50 * time.Millisecond}, service, route("all", "s", func(m *configv1.Route) { m.Paths = array("/") }))
		nc := must(net.Dial("tcp", g.clear))
		defer nc.Close()
		_ = nc.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(nc, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
		<-entered
		stopped := make(chan error, 1)
		go func() { stopped <- g.stop() }()
		if resp, err := http.ReadResponse(bufio.NewReader(nc), nil); err == nil {
			t.Errorf("answered with %d", resp.StatusCode)
		}
		_ = nc.Close()
		if err := <-stopped; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}
