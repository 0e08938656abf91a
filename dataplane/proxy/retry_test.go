package proxy_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/proxy"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// deadPort is a port on which nobody listens.
func deadPort(t testing.TB) int64 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return int64(l.Addr().(*net.TCPAddr).Port)
}

func upstreamOf(targets ...string) []entity {
	list := []entity{
		{"upstreams", "u", &configv1.Upstream{Name: new("pool.up")}},
		{"services", "s", &configv1.Service{Protocol: new("http"), Host: new("pool.up"), Port: new(int64(80)), Path: new("/")}},
	}
	for i, target := range targets {
		address, weight, _ := strings.Cut(target, "=")
		w := int64(100)
		if weight != "" {
			fmt.Sscan(weight, &w)
		}
		list = append(list, entity{"targets", fmt.Sprint("t", i), &configv1.Target{Upstream: ref("u"), Target: &address, Weight: &w}})
	}
	return list
}

func TestRetriesReachALiveTarget(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	live := o.Listener.Addr().String()
	dead := fmt.Sprintf("127.0.0.1:%d", deadPort(t))
	g := newGateway(t, proxy.Options{}, append(upstreamOf(dead, live, "127.0.0.1:1=0"), route("r", "s"))...)
	for range 10 {
		for _, method := range []string{"GET", "POST"} { // nothing was sent: any method may be tried again
			body := strings.Repeat("b", 100)
			if got := g.do(t, method, "/r/x", body); got.status != 200 || got.body != method+" /x "+body || got.header.Get("X-Origin") != live {
				t.Fatalf("%s: got %d %q", method, got.status, got.body)
			}
		}
	}
}

func TestWeightsSpreadRequests(t *testing.T) {
	t.Parallel()
	a, b := newOrigin(t), newOrigin(t)
	g := newGateway(t, proxy.Options{}, append(upstreamOf(a.Listener.Addr().String()+"=30", b.Listener.Addr().String()+"=10"), route("r", "s"))...)
	got := map[string]int{}
	for range 40 {
		got[g.do(t, "GET", "/r", "").header.Get("X-Origin")]++
	}
	if got[a.Listener.Addr().String()] != 30 || got[b.Listener.Addr().String()] != 10 {
		t.Errorf("spread %v", got)
	}
}

// A request that the upstream got and did not answer is repeated only when its method may be.
func TestOnlyIdempotentRequestsAreRepeated(t *testing.T) {
	t.Parallel()
	for method, want := range map[string]struct{ requests, status int }{"GET": {3, 200}, "POST": {1, 502}, "PUT": {3, 200}} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int32
			o := newOrigin(t)
			o.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if requests.Add(1) < 3 {
					panic(http.ErrAbortHandler)
				}
				_, _ = w.Write(body)
			})
			g := newGateway(t, proxy.Options{}, o.service("s"), route("r", "s"))
			body := ""
			if method != "GET" {
				body = "the body"
			}
			got := g.do(t, method, "/r", body)
			if int(requests.Load()) != want.requests || got.status != want.status || want.status == 200 && got.body != body {
				t.Fatalf("%d requests, then %d %q", requests.Load(), got.status, got.body)
			}
		})
	}
}

// Swapping configurations under load loses no request, and every answer belongs to one of them.
func TestSwapLosesNoRequest(t *testing.T) {
	t.Parallel()
	a, b := newOrigin(t), newOrigin(t)
	first := []entity{a.service("s"), route("r", "s")}
	second := []entity{b.service("s"), route("r", "s"), route("other", "s")}
	g := newGateway(t, proxy.Options{}, first...)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var served atomic.Int64
	for range 4 {
		wg.Go(func() {
			client := &http.Client{Transport: g.engine.transport()}
			defer client.CloseIdleConnections()
			for {
				select {
				case <-stop:
					return
				default:
				}
				response, err := client.Get(g.url + "/r")
				if err != nil {
					t.Errorf("lost: %v", err)
					return
				}
				_, err = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
				if response.StatusCode != 200 || err != nil {
					t.Errorf("status %d, %v", response.StatusCode, err)
					return
				}
				served.Add(1)
			}
		})
	}
	for i := range 200 {
		for start := time.Now(); served.Load() < int64(i) && time.Since(start) < 5*time.Second; {
			time.Sleep(100 * time.Microsecond)
		}
		if i%2 == 0 {
			g.apply(t, second...)
		} else {
			g.apply(t, first...)
		}
	}
	close(stop)
	wg.Wait()
	if served.Load() == 0 {
		t.Error("nothing was served")
	}
}
