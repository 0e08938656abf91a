package wire

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// parse reads one request out of raw as the server does; rest is what follows its head.
func parse(raw []byte) (ex *exchange.Exchange, c *Connection, rest []byte, err error) {
	var scan Scanner
	limits := Limits{LineBytes: 8 << 10, HeadBytes: 32 << 10, Fields: 128}
	n, err := scan.Scan(raw, &limits)
	if err != nil || n == 0 {
		return nil, nil, nil, err
	}
	ex = new(exchange.Pool).Take()
	ex.Request.Scheme = "http"
	head := ex.Bytes(n)
	copy(head, raw)
	c = new(Connection)
	return ex, c, raw[n:], ParseRequest(ex, head, c)
}

func corpus(t testing.TB) (raws []string) {
	text, err := os.ReadFile("../testdata/hostile.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if parts := strings.SplitN(strings.TrimSpace(line), " | ", 3); len(parts) == 3 && line[0] != '#' {
			raw, err := strconv.Unquote(parts[2])
			if err != nil {
				t.Fatal(err)
			}
			raws = append(raws, raw)
		}
	}
	return raws
}

// FuzzRequest holds our parser against the standard library's: what we accept it must accept too, as the same method, target, host
// and framing, and no list of fields may hold one that frames.
func FuzzRequest(f *testing.F) {
	for _, raw := range corpus(f) {
		f.Add([]byte(raw))
	}
	f.Add([]byte("GET /a/../b?c=%20 HTTP/1.1\r\nHost: A.example.:80\r\nConnection: x\r\nX: y\r\nCookie: a=b; c=d\r\n\r\n"))
	f.Add([]byte("POST http://[::1]:80?q HTTP/1.1\r\nHost: [::1]:80\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n"))
	f.Add([]byte("POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabcGET"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		ex, c, rest, err := parse(raw)
		if ex == nil || err != nil {
			if fault, ok := err.(Fault); err != nil && (!ok || fault.Status() < 400) {
				t.Fatalf("a refusal without status: %v", err)
			}
			return
		}
		r := &ex.Request
		want, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			t.Fatalf("we accept %q, net/http says %v", raw, err)
		}
		if r.Method != want.Method || r.RawQuery != want.URL.RawQuery {
			t.Fatalf("%q: method and query %q %q, want %q %q", raw, r.Method, r.RawQuery, want.Method, want.URL.RawQuery)
		}
		if host := strings.ToLower(want.Host); r.Host != host && strings.Replace(host, ".:", ":", 1) != r.Host && strings.TrimSuffix(host, ".") != r.Host {
			t.Fatalf("%q: host %q, want %q", raw, r.Host, want.Host)
		}
		if want.RequestURI[0] == '/' && r.Target != want.RequestURI || want.RequestURI[0] != '/' && !strings.HasSuffix(want.RequestURI, strings.TrimPrefix(r.Target, "/")) {
			t.Fatalf("%q: target %q, want %q", raw, r.Target, want.RequestURI)
		}
		path, _, _ := strings.Cut(r.Target, "?")
		if normal, err := exchange.Normalise(nil, path); err != nil || string(normal) != r.Path {
			t.Fatalf("%q: path %q, want %q, %v", raw, r.Path, normal, err)
		}
		if length := want.ContentLength; length != r.ContentLength {
			t.Fatalf("%q: length %d, want %d", raw, r.ContentLength, length)
		}
		for name, value := range r.Header.All() {
			if HopByHop(name) || !exchange.ValidName(name) || !exchange.ValidValue(value) {
				t.Fatalf("%q: field %q: %q", raw, name, value)
			}
		}
		sameBody(t, raw, c, rest, want)
	})
}

// sameBody compares the decoded bodies. Where we refuse a body the other reader may do as it likes.
func sameBody(t *testing.T, raw []byte, c *Connection, rest []byte, want *http.Request) {
	if !c.Chunked {
		return
	}
	var trailer exchange.Header
	in := Input{Src: bytes.NewReader(rest), Blocks: new(Blocks)}
	var dec Chunked
	dec.Reset(&in, &trailer)
	got, err := io.ReadAll(&dec)
	if err != nil {
		return
	}
	body, err := io.ReadAll(want.Body)
	if err != nil || !bytes.Equal(got, body) {
		t.Fatalf("%q: body %q, want %q, %v", raw, got, body, err)
	}
}

// FuzzChunked feeds the decoder in pieces: how the bytes are cut must not matter.
func FuzzChunked(f *testing.F) {
	f.Add([]byte("3\r\nabc\r\n10;x=\"y\"\r\n0123456789abcdef\r\n0\r\nX: y\r\n\r\n"), uint8(1))
	f.Add([]byte("ffffffffffffffff\r\n"), uint8(2))
	f.Add([]byte("0\r\n\r\n"), uint8(3))
	f.Fuzz(func(t *testing.T, raw []byte, piece uint8) {
		decode := func(src io.Reader) (string, string, error) {
			var trailer exchange.Header
			in := Input{Src: src, Blocks: new(Blocks)}
			var dec Chunked
			dec.Reset(&in, &trailer)
			body, err := io.ReadAll(&dec)
			var trailers strings.Builder
			for name, value := range trailer.All() {
				trailers.WriteString(name + ":" + value + "\n")
			}
			return string(body), trailers.String(), err
		}
		body, trailers, err := decode(bytes.NewReader(raw))
		body2, trailers2, err2 := decode(&cutter{raw, int(piece)%7 + 1})
		if body != body2 || trailers != trailers2 || (err == nil) != (err2 == nil) {
			t.Fatalf("%q: %q %q %v; in pieces %q %q %v", raw, body, trailers, err, body2, trailers2, err2)
		}
	})
}

type cutter struct {
	rest []byte
	n    int
}

func (c *cutter) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.rest[:min(c.n, len(c.rest))])
	c.rest = c.rest[n:]
	return n, nil
}

// FuzzResponse holds the response parser against the standard library's.
func FuzzResponse(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX: y\r\n\r\nabc"))
	f.Add([]byte("HTTP/1.0 304\r\nConnection: keep-alive, X\r\nX: y\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var scan Scanner
		n, err := scan.Scan(raw, &Limits{LineBytes: 8 << 10, HeadBytes: 64 << 10, Fields: 256})
		if err != nil || n == 0 {
			return
		}
		ex := new(exchange.Pool).Take()
		head := ex.Bytes(n)
		copy(head, raw)
		var c Connection
		status, err := ParseResponse(ex, head, &c)
		if err != nil {
			return
		}
		want, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), &http.Request{Method: "GET"})
		if err != nil {
			t.Fatalf("we accept %q, net/http says %v", raw, err)
		}
		if status != want.StatusCode {
			t.Fatalf("%q: status %d, want %d", raw, status, want.StatusCode)
		}
		if !Bodiless("GET", status) && (c.Chunked != (len(want.TransferEncoding) == 1) || !c.Chunked && c.Length != want.ContentLength) {
			t.Fatalf("%q: chunked %v, length %d; want %v, %d", raw, c.Chunked, c.Length, want.TransferEncoding, want.ContentLength)
		}
		for name, value := range ex.Response.Header.All() {
			if HopByHop(name) || !exchange.ValidName(name) || !exchange.ValidValue(value) {
				t.Fatalf("%q: field %q: %q", raw, name, value)
			}
		}
	})
}
