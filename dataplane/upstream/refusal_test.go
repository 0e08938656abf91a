package upstream_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/dataplane/upstream"
)

// post makes an exchange with a body of unknown length.
func post(body io.Reader) *exchange.Exchange {
	ex := new(exchange.Exchange)
	ex.Reset()
	ex.Request.Method, ex.Start = "POST", time.Now()
	if body != nil {
		ex.Request.Body, ex.Request.ContentLength = body, -1
	}
	return ex
}

func TestWhatAServerMayDo(t *testing.T) {
	t.Parallel()
	reset := func(code http2.ErrCode) func(r *rude, f http2.Frame) bool {
		return func(r *rude, f http2.Frame) bool {
			if isHead(f) {
				_ = r.WriteRSTStream(f.Header().StreamID, code)
			}
			return true
		}
	}
	answer := func(fields ...string) func(r *rude, f http2.Frame) bool {
		return func(r *rude, f http2.Frame) bool {
			if isHead(f) {
				r.answer(f.Header().StreamID, true, fields...)
			}
			return true
		}
	}
	many := []string{":status", "200"}
	for range 300 {
		many = append(many, "x-a", "b")
	}
	tests := map[string]struct {
		on         func(r *rude, f http2.Frame) bool
		kind       client.Kind
		repeatable bool
	}{
		"refuses the stream": {reset(http2.ErrCodeRefusedStream), client.Closed, true},
		"resets the stream":  {reset(http2.ErrCodeInternal), client.Closed, false},
		"is too busy":        {reset(http2.ErrCodeEnhanceYourCalm), client.Closed, false},
		"goes away, stream not seen": {func(r *rude, f http2.Frame) bool {
			if isHead(f) {
				_ = r.WriteGoAway(0, http2.ErrCodeNo, nil)
			}
			return true
		}, client.Closed, true},
		"goes away, stream seen": {func(r *rude, f http2.Frame) bool {
			if isHead(f) {
				_ = r.WriteGoAway(f.Header().StreamID, http2.ErrCodeNo, nil)
				return false
			}
			return true
		}, client.Closed, false},
		"closes":              {func(_ *rude, f http2.Frame) bool { return !isHead(f) }, client.Closed, false},
		"says nothing":        {func(*rude, http2.Frame) bool { return true }, client.Timeout, false},
		"bad field name":      {answer(":status", "200", "x a", "b"), client.Malformed, false},
		"upper-case name":     {answer(":status", "200", "X-A", "b"), client.Malformed, false},
		"line end in a value": {answer(":status", "200", "x-a", "b\r\nc: d"), client.Malformed, false},
		"no status":           {answer("x-a", "b"), client.Malformed, false},
		"status of letters":   {answer(":status", "abc"), client.Malformed, false},
		"status 999":          {answer(":status", "999"), client.Malformed, false},
		"101":                 {answer(":status", "101"), client.Malformed, false},
		"too many fields":     {answer(many...), client.Malformed, false},
		"a large head":        {answer(":status", "200", "x-a", strings.Repeat("b", 70<<10)), client.Malformed, false},
		"garbage": {func(r *rude, f http2.Frame) bool {
			if isHead(f) {
				_, _ = r.nc.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			}
			return true
		}, client.Closed, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPools(t, client.Options{}).Pool(addrOf(serveRude(t, test.on)), upstream.Link{Protocol: upstream.HTTP2})
			head := client.Head{Target: "/", Host: "a.test", ReadTimeout: 10 * time.Second}
			if test.kind == client.Timeout {
				head.ReadTimeout = 50 * time.Millisecond
			}
			ex := post(strings.NewReader("hello"))
			err := p.RoundTrip(t.Context(), ex, &head, patience)
			failure, ok := err.(*client.Error)
			if !ok || failure.Kind != test.kind && !(name == "garbage" && failure.Kind == client.Malformed) || failure.Repeatable(ex) != test.repeatable {
				t.Fatalf("RoundTrip = %#v (%v), want kind %d, repeatable %t", err, err, test.kind, test.repeatable)
			}
			if ex.Response.Status != 0 || ex.Response.Header.Len() > 0 {
				t.Error("something of a response was left")
			}
			if test.repeatable {
				if body, err := io.ReadAll(ex.Request.Body); err != nil || string(body) != "hello" {
					t.Errorf("the body that can be sent again is %q, %v", body, err)
				}
			}
		})
	}
}

// A server that goes away while a request is on its way to an idle connection costs nothing.
func TestRequestsGoOnOnTheNextConnection(t *testing.T) {
	t.Parallel()
	seen := 0 // by the second request's connection
	l := serveRude(t, func(r *rude, f http2.Frame) bool {
		switch id := f.Header().StreamID; {
		case !isHead(f):
		case r.conns == 1 && id > 1:
			_ = r.WriteGoAway(1, http2.ErrCodeNo, nil)
		default:
			seen++
			r.answer(id, false, ":status", "103", "link", "x")
			r.answer(id, false, ":status", "200", "x-conn", string(rune('0'+r.conns)))
			_ = r.WriteData(id, false, []byte("all"))
			r.answer(id, true, "x-tail", "t", "x-consumer-id", "forged")
		}
		return true
	})
	p := newPools(t, client.Options{}).Pool(addrOf(l), upstream.Link{Protocol: upstream.HTTP2})
	for i, want := range []string{"1", "2", "2"} {
		ex := post(strings.NewReader("hello"))
		a := finish(ex, p.RoundTrip(t.Context(), ex, &client.Head{Target: "/", Host: "a.test"}, patience))
		if a.err != nil || a.status != 200 || a.body != "all" || a.header["X-Conn"] != want || a.header["Link"] != "" {
			t.Fatalf("answer %d is %+v, want that of connection %s", i, a, want)
		}
		if tail := &ex.Response.Trailer; tail.Get("x-tail") != "t" || tail.Len() != 1 {
			t.Errorf("%d trailers, x-tail %q", tail.Len(), tail.Get("x-tail"))
		}
	}
}

// A stream that falls silent fails, and takes its connection out of use.
func TestSilenceOfAStream(t *testing.T) {
	t.Parallel()
	l := serveRude(t, func(r *rude, f http2.Frame) bool {
		if isHead(f) {
			r.answer(f.Header().StreamID, false, ":status", "200")
			if r.conns > 1 {
				_ = r.WriteData(f.Header().StreamID, true, nil)
			}
		}
		return true
	})
	p := newPools(t, client.Options{}).Pool(addrOf(l), upstream.Link{Protocol: upstream.HTTP2})
	a := ask(p, client.Head{ReadTimeout: 50 * time.Millisecond})
	if failure, ok := a.err.(*client.Error); !ok || failure.Kind != client.Timeout {
		t.Errorf("answer = %+v, want a timeout", a)
	}
	if a := ask(p, client.Head{}); a.err != nil || a.status != 200 {
		t.Errorf("answer = %+v", a)
	}
}

// The upstream sees neither what belongs to the client's connection nor anything that the library adds.
func TestWhatReachesTheUpstream(t *testing.T) {
	t.Parallel()
	heads := make(chan map[string]string, 1)
	decoder := hpack.NewDecoder(4096, nil) // of the one connection
	l := serveRude(t, func(r *rude, f http2.Frame) bool {
		if h, ok := f.(*http2.HeadersFrame); ok {
			got := map[string]string{}
			decoder.SetEmitFunc(func(f hpack.HeaderField) { got[f.Name] += f.Value })
			_, _ = decoder.Write(h.HeaderBlockFragment())
			heads <- got
			r.answer(h.StreamID, true, ":status", "204")
		}
		return true
	})
	p := newPools(t, client.Options{}).Pool(addrOf(l), upstream.Link{Protocol: upstream.HTTP2})
	for _, target := range []string{"/a%2Fb/%7e//c?q=%20&r", "//double/slash", "/", "/?"} {
		ex := post(nil)
		for _, f := range [][2]string{{"X-Own", "1"}, {"Connection", "x"}, {"Keep-Alive", "x"}, {"TE", "gzip"}, {"Transfer-Encoding", "x"}, {"Upgrade", "x"}, {"Content-Length", "7"}, {"Host", "evil"}, {"Proxy-Connection", "x"}, {"HTTP2-Settings", "x"}} {
			ex.Request.Header.AddParsed(f[0], f[1])
		}
		if a := finish(ex, p.RoundTrip(t.Context(), ex, &client.Head{Target: target, Host: "a.test:8443"}, patience)); a.err != nil || a.status != 204 {
			t.Fatalf("answer = %+v", a)
		}
		got := <-heads
		want := map[string]string{":method": "POST", ":scheme": "http", ":authority": "a.test:8443", ":path": target, "x-own": "1", "te": "trailers", "content-length": "0"}
		if len(got) != len(want) {
			t.Errorf("the upstream got %v", got)
		}
		for name, value := range want {
			if got[name] != value {
				t.Errorf("%s is %q, want %q", name, got[name], value)
			}
		}
	}
	for name, head := range map[string]client.Head{"blank": {Target: "/a b", Host: "a"}, "line end": {Target: "/a\r\nx: y", Host: "a"}, "host": {Target: "/", Host: "a\nb"}, "none": {Target: "/"}} {
		ex := post(nil)
		if failure, ok := p.RoundTrip(t.Context(), ex, &head, patience).(*client.Error); !ok || failure.Kind != client.BadRequest {
			t.Errorf("%s: %v", name, failure)
		}
	}
}
