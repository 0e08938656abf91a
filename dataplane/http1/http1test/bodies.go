package http1test

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

func requestBodies(t *testing.T, b bench) {
	c := Dial(t, b.addr)
	for _, n := range []int{1, 100, 5000, 16 << 10, 48 << 10, 48<<10 + 1, 300_000} {
		body := strings.Repeat("x", n)
		go io.WriteString(c.nc, fmt.Sprintf("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", n, body))
		if resp, got := c.Response("POST"); resp.StatusCode != 200 || got != body {
			t.Fatalf("%d bytes counted: %d, %d bytes back", n, resp.StatusCode, len(got))
		}
		go io.WriteString(c.nc, fmt.Sprintf("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n%x;ext=\"v\"\r\n%s\r\n1\r\ny\r\n0\r\n\r\n", n, body))
		if resp, got := c.Response("POST"); resp.StatusCode != 200 || got != body+"y" {
			t.Fatalf("%d bytes chunked: %d, %d bytes back", n, resp.StatusCode, len(got))
		}
	}
	c.Send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
	if resp, got := c.Response("POST"); resp.StatusCode != 200 || got != "" {
		t.Fatalf("empty: %d %q", resp.StatusCode, got)
	}
	if seen := b.origin.Seen(); seen[len(seen)-1].Length != 0 {
		t.Fatalf("an empty body reached the origin as %d", seen[len(seen)-1].Length)
	}
}

func requestTrailers(t *testing.T, b bench) {
	c := Dial(t, b.addr)
	c.Send("POST /echo HTTP/1.1\r\nHost: a\r\nTrailer: X-Sum, X-Consumer-Id\r\nTransfer-Encoding: chunked\r\n\r\n" +
		"3\r\nabc\r\n0\r\nX-Sum: 7\r\nX-Consumer-ID: forged\r\nContent-Length: 9\r\n\r\n")
	if _, body := c.Response("POST"); body != "abc" {
		t.Fatalf("%q", body)
	}
	if seen := b.origin.Seen()[0]; len(seen.Trailer) > 1 || seen.Header.Get("X-Consumer-ID") != "" {
		t.Fatalf("trailers %v", seen.Trailer)
	}
}

func expectContinue(t *testing.T, b bench) {
	c := Dial(t, b.addr)
	c.Send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
	if line := c.Line(); line != "HTTP/1.1 100 Continue" {
		t.Fatalf("%q", line)
	}
	c.Line()
	c.Send("body")
	if _, body := c.Response("POST"); body != "body" {
		t.Fatalf("%q", body)
	}
	if b.origin.Seen()[0].Header.Get("Expect") != "" {
		t.Fatal("Expect reached the origin")
	}
	c.Send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: miracles\r\n\r\n")
	if resp, _ := c.Response("POST"); resp.StatusCode != 417 {
		t.Fatalf("%d", resp.StatusCode)
	}
}

func earlyAnswer(t *testing.T, b bench) {
	c := Dial(t, b.addr)
	c.Send("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n" + strings.Repeat("x", 1000))
	if resp, _ := c.Response("POST"); resp.StatusCode != 413 || !resp.Close {
		t.Fatalf("%d, close %v", resp.StatusCode, resp.Close)
	}
	c.Closed()
}

func longResponses(t *testing.T, b bench) {
	c := Dial(t, b.addr)
	for range 3 {
		c.Send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
		if resp, body := c.Response("GET"); body != strings.Repeat("0123456789", 100_000) || resp.ContentLength != 1_000_000 {
			t.Fatalf("%d bytes, length %d", len(body), resp.ContentLength)
		}
		c.Send("GET /chunked HTTP/1.1\r\nHost: a\r\n\r\n")
		if _, body := c.Response("GET"); len(body) != 100_000 || body[95_000:] != strings.Repeat("9", 5000) {
			t.Fatalf("%d bytes", len(body))
		}
	}
	for i, done := range b.proxy.Await(t, 6) {
		if want := []int64{1_000_000, 100_000}[i%2]; done.Sent.BodyBytes != want || done.Sent.Err != nil {
			t.Fatalf("Finish saw %d bytes and %v, want %d", done.Sent.BodyBytes, done.Sent.Err, want)
		}
	}
	if idle, _ := b.proxy.Pool.Counts(); idle != 1 {
		t.Fatalf("%d idle upstream connections, want one", idle)
	}
}

func responseTrailers(t *testing.T, b bench) {
	c := Dial(t, b.addr)
	for range 2 {
		c.Send("GET /trailers HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n")
		resp, body := c.Response("GET")
		if body != "body" || resp.Trailer.Get("X-Sum") != "42" {
			t.Fatalf("%q, trailers %v", body, resp.Trailer)
		}
	}
}

func events(t *testing.T, b bench) {
	c := Dial(t, b.addr)
	c.Send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
	resp := c.Head("GET") // before any event
	buf := make([]byte, 64)
	for i := range 3 {
		b.origin.Release()
		n, err := resp.Body.Read(buf)
		if want := fmt.Sprintf("data: %d\n\n", i); err != nil && err != io.EOF || string(buf[:n]) != want {
			t.Fatalf("%q, %v; want %q", buf[:n], err, want)
		}
	}
	if n, err := resp.Body.Read(buf); err != io.EOF {
		t.Fatalf("%q, %v", buf[:n], err)
	}
}

func cutResponse(t *testing.T, b bench) {
	c := Dial(t, b.addr)
	c.Send("GET /cut HTTP/1.1\r\nHost: a\r\n\r\n")
	resp := c.Head("GET")
	if body, err := io.ReadAll(resp.Body); err == nil {
		t.Fatalf("%q, as if it were whole", body)
	}
	if done := b.proxy.Await(t, 1); done[0].Sent.Err == nil || done[0].Sent.ClientGone {
		t.Fatalf("%+v", done[0].Sent)
	}
}

func bodyLimit(t *testing.T, b bench) {
	b.proxy.BodyLimit = 1000
	c := Dial(t, b.addr)
	c.Send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + strings.Repeat("x", 1001) + "\r\n0\r\n\r\n")
	if resp, _ := c.Response("POST"); resp.StatusCode != 413 {
		t.Fatalf("%d", resp.StatusCode)
	}
	for _, seen := range b.origin.Seen() {
		if seen.Err == nil {
			t.Fatal("the origin got a whole request")
		}
	}
}

func clientLeaves(t *testing.T, b bench) {
	c := Dial(t, b.addr)
	c.Send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
	for len(b.origin.Seen()) == 0 {
		time.Sleep(time.Millisecond)
	}
	c.Close()
	for deadline := time.Now().Add(3 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if seen := b.origin.Seen(); len(seen) == 2 && seen[1].URI == "gone" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the origin was never told")
		}
	}
	if done := b.proxy.Await(t, 1); done[0].Status != 499 {
		t.Fatalf("%+v", done[0])
	}
}
