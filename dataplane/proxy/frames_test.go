package proxy_test

import (
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/http1/std"
	"github.com/keepgate/keepgate/dataplane/http2server"
	"github.com/keepgate/keepgate/dataplane/proxy"
)

// frames speaks HTTP/2 by hand, RFC 9113, with literal header fields only, RFC 7541 §6.2.2.
type frames struct {
	t  testing.TB
	nc net.Conn
}

const maxStreams = 16

// newFrames starts a gateway on an engine for HTTP/2 and opens a connection to it.
func newFrames(t testing.TB, on engine, list ...entity) frames {
	t.Helper()
	g := newGateway(t, proxy.Options{})
	g.apply(t, list...)
	var server server = http2server.New(proxy.New(g.holder, proxy.Options{}), http2server.Options{MaxStreams: maxStreams})
	if on == http2Std {
		server = std.New(proxy.New(g.holder, proxy.Options{}), std.Options{MaxStreams: maxStreams})
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = nc.Close(), l.Close()
		ctx, cancel := contextWithTimeout()
		defer cancel()
		_ = server.Shutdown(ctx)
		<-done
	})
	_ = nc.SetDeadline(time.Now().Add(5 * time.Second))
	f := frames{t, nc}
	_, _ = io.WriteString(nc, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	f.write(4, 0, 0, nil)
	return f
}

func (f frames) write(kind, flags byte, stream uint32, payload []byte) error {
	head := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	_, err := f.nc.Write(append(binary.BigEndian.AppendUint32(head, stream), payload...))
	return err
}

// headers opens a stream; fields are names and values.
func (f frames) headers(stream uint32, end bool, fields ...string) error {
	var block []byte
	for i := 0; i < len(fields); i += 2 {
		block = append(block, 0)
		for _, text := range fields[i : i+2] {
			block = append(append(block, byte(len(text))), text...)
		}
	}
	flags := byte(4)
	if end {
		flags |= 1
	}
	return f.write(1, flags, stream, block)
}

// next returns the kind of the next frame that answers a stream, or ends one: headers (1), reset (3), going away (7).
func (f frames) next() (kind byte, payload []byte) {
	for {
		var head [9]byte
		if _, err := io.ReadFull(f.nc, head[:]); err != nil {
			return 0, nil
		}
		payload = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(f.nc, payload); err != nil {
			return 0, nil
		}
		if kind = head[3]; kind == 1 || kind == 3 || kind == 7 {
			return kind, payload
		}
	}
}

// onBothHTTP2 runs a test on our server and on the standard library's.
func onBothHTTP2(t *testing.T, name string, test func(t *testing.T, on engine)) {
	for _, on := range []engine{http2, http2Std} {
		t.Run(name+", "+string(on), func(t *testing.T) {
			t.Parallel()
			test(t, on)
		})
	}
}

// Malformed HTTP/2 requests are refused and never reach an upstream whole.
func TestHTTP2Frames(t *testing.T) {
	t.Parallel()
	get := func(more ...string) []string {
		return append([]string{":method", "GET", ":scheme", "http", ":authority", "a.test", ":path", "/r"}, more...)
	}
	for name, test := range map[string]struct {
		fields  []string
		body    string
		reaches bool
	}{
		"plain":                        {get(), "", true},
		"the same Host":                {get("host", "a.test"), "", true},
		"another Host":                 {get("host", "b.test"), "", false},
		"two authorities":              {append([]string{":authority", "b.test"}, get()...), "", false},
		"two paths":                    {append([]string{":path", "/x"}, get()...), "", false},
		"pseudo-header after a field":  {append(get("x", "y"), ":path", "/r"), "", false},
		"unknown pseudo-header":        {append([]string{":proto", "x"}, get()...), "", false},
		"no path":                      {[]string{":method", "GET", ":scheme", "http", ":authority", "a.test"}, "", false},
		"capitals":                     {get("X-Up", "y"), "", false},
		"a line end in a value":        {get("x", "y\r\nX-Consumer-Id: root"), "", false},
		"a blank in a name":            {get("x y", "z"), "", false},
		"Transfer-Encoding":            {get("transfer-encoding", "chunked"), "", false},
		"Connection":                   {get("connection", "x-forwarded-for"), "", false},
		"CONNECT":                      {[]string{":method", "CONNECT", ":authority", "a.test:80"}, "", false},
		"a method with a blank":        {[]string{":method", "GET /x HTTP/1.1\r\nA: b", ":scheme", "http", ":authority", "a.test", ":path", "/r"}, "", false},
		"a path with a line end":       {[]string{":method", "GET", ":scheme", "http", ":authority", "a.test", ":path", "/r HTTP/1.1\r\nX: y"}, "", false},
		"an authority with a line end": {[]string{":method", "GET", ":scheme", "http", ":authority", "a.test\r\nX: y", ":path", "/r"}, "", false},
		"te that is not trailers":      {get("te", "gzip"), "", false},
		"te: trailers":                 {get("te", "trailers"), "", true},
		"Upgrade":                      {get("upgrade", "websocket"), "", false},
		"Proxy-Connection":             {get("proxy-connection", "keep-alive"), "", false},
		"Keep-Alive":                   {get("keep-alive", "timeout=5"), "", false},
		"a NUL in a value":             {get("x", "y\x00z"), "", false},
		"a colon in a name":            {get("x:y", "z"), "", false},
		"an empty name":                {get("", "z"), "", false},
		"an authority with a user":     {[]string{":method", "GET", ":scheme", "http", ":authority", "u@a.test", ":path", "/r"}, "", false},
		"a path with a blank":          {[]string{":method", "GET", ":scheme", "http", ":authority", "a.test", ":path", "/r x"}, "", false},
		"a path without a slash":       {[]string{":method", "GET", ":scheme", "http", ":authority", "a.test", ":path", "r"}, "", false},
		"an absolute path, other host": {[]string{":method", "GET", ":scheme", "http", ":authority", "a.test", ":path", "http://b.test/r"}, "", false},
		"an asterisk":                  {[]string{":method", "OPTIONS", ":scheme", "http", ":authority", "a.test", ":path", "*"}, "", false},
		"two lengths":                  {[]string{":method", "POST", ":scheme", "http", ":authority", "a.test", ":path", "/r", "content-length", "6", "content-length", "7"}, "abcdef", false},
		"a length with a sign":         {[]string{":method", "POST", ":scheme", "http", ":authority", "a.test", ":path", "/r", "content-length", "+6"}, "abcdef", false},
		"a status":                     {append([]string{":status", "200"}, get()...), "", false},
		"a WebSocket in HTTP/2":        {[]string{":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "a.test", ":path", "/r"}, "", false},
		"length too small":             {[]string{":method", "POST", ":scheme", "http", ":authority", "a.test", ":path", "/r", "content-length", "3"}, "abcdef", false},
		"length too large":             {[]string{":method", "POST", ":scheme", "http", ":authority", "a.test", ":path", "/r", "content-length", "30"}, "abcdef", false},
		"a length":                     {[]string{":method", "POST", ":scheme", "http", ":authority", "a.test", ":path", "/r", "content-length", "6"}, "abcdef", true},
	} {
		onBothHTTP2(t, name, func(t *testing.T, on engine) {
			o := newOrigin(t)
			f := newFrames(t, on, o.service("s"), route("r", "s"))
			if err := f.headers(1, test.body == "", test.fields...); err != nil {
				t.Fatal(err)
			}
			if test.body != "" {
				_ = f.write(0, 1, 1, []byte(test.body))
			}
			kind, payload := f.next()
			if kind == 0 && test.reaches {
				t.Error("no answer")
			}
			select {
			case seen := <-o.seen:
				if body, _ := io.ReadAll(seen.Body); !test.reaches && (test.body == "" || seen.ContentLength == int64(len(body))) {
					t.Errorf("reached the origin: %v %q", seen.Header, body)
				}
			case <-time.After(50 * time.Millisecond):
				if test.reaches {
					t.Errorf("did not reach the origin: frame %d %x", kind, payload)
				}
			}
		})
	}
}

// Cookies that came in crumbs are one field for an HTTP/1.1 upstream, RFC 9113 §8.2.3.
func TestHTTP2CookieCrumbs(t *testing.T) {
	t.Parallel()
	onBothHTTP2(t, "cookies", func(t *testing.T, on engine) {
		o := newOrigin(t)
		f := newFrames(t, on, o.service("s"), route("r", "s"))
		_ = f.headers(1, true, ":method", "GET", ":scheme", "http", ":authority", "a.test", ":path", "/r", "cookie", "a=1", "cookie", "b=2")
		if kind, _ := f.next(); kind != 1 {
			t.Fatalf("frame %d", kind)
		}
		if got := (<-o.seen).Header["Cookie"]; strings.Join(got, " | ") != "a=1; b=2" {
			t.Errorf("Cookie %q", got)
		}
	})
}

// A client that opens and resets streams without end is cut off, or at least costs the upstream no more requests at once
// than it may have streams, and holds nobody up.
func TestHTTP2RapidReset(t *testing.T) {
	t.Parallel()
	onBothHTTP2(t, "resets", func(t *testing.T, on engine) {
		o := newOrigin(t)
		var now, most atomic.Int64
		o.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for n := now.Add(1); n > most.Load(); {
				most.Store(n)
			}
			defer now.Add(-1)
			if strings.HasSuffix(r.URL.Path, "hold") {
				<-r.Context().Done()
			}
		})
		f := newFrames(t, on, o.service("s"), route("r", "s"))
		go io.Copy(io.Discard, f.nc)
		for i := range uint32(2_000) {
			err := f.headers(2*i+1, true, ":method", "GET", ":scheme", "http", ":authority", "a.test", ":path", "/r/hold")
			if err == nil {
				err = f.write(3, 0, 2*i+1, []byte{0, 0, 0, 8})
			}
			if err != nil {
				break
			}
		}
		// The origin notices a closed connection a little later than the gateway closes it.
		if n := most.Load(); n > 4*maxStreams {
			t.Errorf("%d requests at once, with %d streams", n, maxStreams)
		}
	})
}
