package proxy_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

const patience = 30 * time.Second // of a test, with what must end long before

// dripped sends what follows the | in text byte by byte, and then its last byte over and over, until the gate ends the
// connection, and returns the status of its answer, 0 for none.
func dripped(t *testing.T, addr, text string) int {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(patience))
	ended := make(chan int, 1)
	go func() {
		in := bufio.NewReader(nc)
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			ended <- 0
			if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
				t.Error("the gate waits on")
			}
			return
		}
		if _, err := io.Copy(io.Discard, in); err != nil {
			if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
				t.Error("the gate answers and waits on")
			}
		}
		ended <- resp.StatusCode
	}()
	head, body, _ := strings.Cut(text, "|")
	if _, err := io.WriteString(nc, head); err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		select {
		case status := <-ended:
			return status
		case <-time.After(10 * time.Millisecond):
			_, _ = nc.Write([]byte{body[min(i, len(body)-1)]})
		}
	}
}

// Clients that never stop, and never get anywhere, do not keep what they hold: a head has an absolute end, a body a pace.
func TestDrippingClients(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	const forever = "aaaaaaaaaa"
	tests := map[string]string{
		"head":               "G|ET / HTTP/1.1\r\nHost: a\r\nX: " + forever,
		"field":              "GET / HTTP/1.1\r\nHost: a\r\nX: |" + forever,
		"body":               "POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n|" + forever,
		"long body":          "POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n" + strings.Repeat("a", 1000) + "|" + forever,
		"chunk":              "POST /slow HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n|" + forever,
		"chunks of one byte": "POST /slow HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n|" + strings.Repeat("1\r\na\r\n", 1000),
		"chunk's extension":  "POST /slow HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;|" + forever,
		"unread body":        "POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n|" + forever,
	}
	engines(t, func(t *testing.T, on engine) {
		g := newLimitedGate(t, on, limits{head: 400 * time.Millisecond, body: 400 * time.Millisecond, rate: 10_000}, o.service("s"), route("slow", "s"))
		for name, text := range tests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				status := dripped(t, g.clear, text)
				if want := 408; name != "unread body" && status != want && (on == native || status != 0) {
					t.Errorf("status %d, want %d", status, want)
				}
			})
		}
	})
}

// slowBody gives a byte now and then.
type slowBody struct{ sent int }

func (s *slowBody) Read(p []byte) (int, error) {
	time.Sleep(10 * time.Millisecond)
	p[0] = 'a'
	s.sent++
	return 1, nil
}

func TestDrippingClientsOverHTTP2(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	g := newLimitedGate(t, native, limits{body: 400 * time.Millisecond, rate: 10_000}, o.service("s"), route("slow", "s"))
	transport := http2.transport()
	defer transport.CloseIdleConnections()
	body := &slowBody{}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+g.clear+"/slow", io.LimitReader(body, 100_000))
	if err != nil {
		t.Fatal(err)
	}
	request.ContentLength = 100_000
	begin := time.Now()
	resp, err := transport.RoundTrip(request)
	if err == nil {
		defer resp.Body.Close()
		if resp.StatusCode != 408 {
			t.Errorf("status %d, want 408", resp.StatusCode)
		}
	}
	if time.Since(begin) > patience {
		t.Errorf("after %v", time.Since(begin))
	}
	// The connection serves others meanwhile.
	resp, err = transport.RoundTrip(must(http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+g.clear+"/slow", nil)))
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v, %v", resp, err)
	}
	_ = resp.Body.Close()
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// An HTTP/2 connection that opens no stream, and one that never ends the header of one, are closed.
func TestStalledHTTP2(t *testing.T) {
	t.Parallel()
	g := newLimitedGate(t, native, limits{head: 300 * time.Millisecond, idle: 300 * time.Millisecond})
	preface := "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	for name, text := range map[string]string{
		"nothing more":             preface,
		"a header in part":         preface + "\x00\x00\x40\x01\x05\x00\x00\x00\x01\x82",
		"a header without its end": preface + "\x00\x00\x01\x01\x01\x00\x00\x00\x01\x82",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nc := must(net.Dial("tcp", g.clear))
			defer nc.Close()
			_ = nc.SetDeadline(time.Now().Add(patience))
			if _, err := io.WriteString(nc, text); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, nc); err != nil {
				if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
					t.Error("still open")
				}
			}
		})
	}
}
