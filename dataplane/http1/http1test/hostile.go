package http1test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Hostile is one request that must be refused, or read in exactly one way.
type Hostile struct {
	Name   string
	Status int
	Raw    string
}

// ReadHostile reads cases from a file: name | status | quoted bytes.
func ReadHostile(t testing.TB, path string) []Hostile {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var cases []Hostile
	for i, line := range strings.Split(string(text), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		parts := strings.SplitN(line, " | ", 3)
		if len(parts) != 3 {
			t.Fatalf("%s:%d: want three parts", path, i+1)
		}
		status, err := strconv.Atoi(parts[1])
		raw, err2 := strconv.Unquote(parts[2])
		if err != nil || err2 != nil {
			t.Fatalf("%s:%d: %v, %v", path, i+1, err, err2)
		}
		cases = append(cases, Hostile{parts[0], status, raw})
	}
	return cases
}

// Oversized are the cases that are made, not written down.
func Oversized() []Hostile {
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "X-%d: %d\r\n", i, i)
		}
		return b.String()
	}
	return []Hostile{
		{"a thousand fields", 431, "GET / HTTP/1.1\r\nHost: a\r\n" + many(1000) + "\r\n"},
		{"a thousand tiny fields", 431, "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("a:\r\n", 1000) + "\r\n"},
		{"a long field", 431, "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("y", 70_000) + "\r\n\r\n"},
		{"a long name", 431, "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X", 70_000) + ": y\r\n\r\n"},
		{"a long head", 431, "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 70) + "\r\n"},
	}
}

// Run sends the cases to the engine. Where a refusal is expected, the origin must not see a whole request and
// the connection must end; a case with status 200 must reach the origin once.
func (f Factory) Run(t *testing.T, cases []Hostile) {
	for _, h := range cases {
		t.Run(h.Name, func(t *testing.T) {
			t.Parallel()
			b := f.bench(t)
			nc, err := net.Dial("tcp", b.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			_ = nc.SetDeadline(time.Now().Add(5 * time.Second))
			go io.WriteString(nc, h.Raw+"\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
			r := bufio.NewReader(nc)
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatalf("no answer: %v", err)
			}
			if resp.StatusCode != h.Status {
				t.Fatalf("status %d, want %d", resp.StatusCode, h.Status)
			}
			if h.Status == 200 {
				return
			}
			_, _ = io.ReadAll(resp.Body)
			if rest, err := io.ReadAll(r); len(rest) > 0 || isTimeout(err) {
				t.Fatalf("the connection goes on after a refusal: %.100q, %v", rest, err)
			}
			for _, seen := range b.origin.Seen() {
				if seen.Err == nil {
					t.Fatalf("the origin saw %s %s", seen.Method, seen.URI)
				}
			}
		})
	}
}
