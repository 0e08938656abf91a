package http1_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1"
	"github.com/keepgate/keepgate/dataplane/http1/http1test"
)

// TestNobodyGetsAnothersResponse lets many clients send bodies of all framings, and leave at any moment, over few upstream connections.
// Who stays must get the answer to their own request, byte for byte.
func TestNobodyGetsAnothersResponse(t *testing.T) {
	t.Parallel()
	proxy := http1test.NewProxy(t, http1test.NewOrigin(t).Addr)
	addr := http1test.Start(t, native(t, proxy))
	var wg sync.WaitGroup
	for worker := range 12 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 7))
			for round := range 8 {
				if err := session(addr, fmt.Sprintf("%d.%d", worker, round), random); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if _, busy := proxy.Pool.Counts(); busy > 12 {
		t.Errorf("%d upstream connections leaked", busy)
	}
}

// session makes some requests over one connection and perhaps leaves in the middle of one.
func session(addr, name string, random *rand.Rand) error {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReader(nc)
	for i := range 6 {
		size := []int{10, 3000, 30_000, 120_000}[random.IntN(4)]
		body := strings.Repeat(fmt.Sprintf("%s.%d;", name, i), size/6)
		raw := fmt.Sprintf("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		if random.IntN(2) == 0 {
			half := len(body) / 2
			raw = fmt.Sprintf("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", half, body[:half], len(body)-half, body[half:])
		}
		if random.IntN(6) == 0 {
			_, _ = io.WriteString(nc, raw[:random.IntN(len(raw))])
			return nil // leaves
		}
		go io.WriteString(nc, raw)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if random.IntN(8) == 0 {
			return nil // leaves before the body
		}
		got, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 || string(got) != body {
			return fmt.Errorf("%s: status %d, %d bytes of %d, %v; %.40q", name, resp.StatusCode, len(got), len(body), err, got)
		}
	}
	return nil
}

type panicking struct{}

func (panicking) Serve(*exchange.Exchange)  { panic("a bug") }
func (panicking) Finish(*exchange.Exchange) {}

func TestPanicEndsOneConnection(t *testing.T) {
	t.Parallel()
	heard := make(chan any, 2)
	addr := http1test.Start(t, http1.New(panicking{}, http1.Options{Panicked: func(value any, stack []byte) {
		if !strings.Contains(string(stack), "panicking") {
			t.Errorf("no use of a stack: %s", stack)
		}
		heard <- value
	}}))
	for range 2 {
		c := http1test.Dial(t, addr)
		c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		c.Closed()
		if value := <-heard; value != "a bug" {
			t.Fatal(value)
		}
	}
}

func TestMaxRequests(t *testing.T) {
	t.Parallel()
	proxy := http1test.NewProxy(t, http1test.NewOrigin(t).Addr)
	c := http1test.Dial(t, http1test.Start(t, http1.New(proxy, http1.Options{MaxRequests: 2})))
	for _, last := range []bool{false, true} {
		c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if resp, _ := c.Response("GET"); resp.Close != last {
			t.Fatalf("close %v, want %v", resp.Close, last)
		}
	}
	c.Closed()
}

// TestSlowReader: a client that takes nothing must not hold a goroutine for ever.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	proxy := http1test.NewProxy(t, "127.0.0.1:1")
	proxy.Local = func(ex *exchange.Exchange) bool {
		ex.Response.Status, ex.Response.ContentLength, ex.Response.Stream = 200, -1, io.NopCloser(endless{})
		return true
	}
	c := http1test.Dial(t, http1test.Start(t, http1.New(proxy, http1.Options{WriteTimeout: 100 * time.Millisecond})))
	c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if done := proxy.Await(t, 1); done[0].Sent.Err == nil || !done[0].Sent.ClientGone {
		t.Fatalf("%+v", done[0].Sent)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestShutdownGivesUp(t *testing.T) {
	t.Parallel()
	origin := http1test.NewOrigin(t)
	engine := http1.New(http1test.NewProxy(t, origin.Addr), http1.Options{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- engine.Serve(l) }()
	c := http1test.Dial(t, l.Addr().String())
	c.Send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
	for len(origin.Seen()) == 0 {
		time.Sleep(time.Millisecond)
	}
	if open, active := engine.Connections(); open != 1 || active != 1 {
		t.Fatalf("%d open, %d active", open, active)
	}
	_ = l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := engine.Shutdown(ctx); err == nil {
		t.Fatal("Shutdown reports success over a request in flight")
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}
