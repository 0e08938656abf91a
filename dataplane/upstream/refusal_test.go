package upstream_test

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/dataplane/upstream"
)

// rude is a server that speaks HTTP/2 frame by frame, as it is told.
type rude struct {
	*http2.Framer
	nc    net.Conn
	conns int // which connection this is, from 1
}

// answer sends a response's head; fields are name, value, name, value.
func (r *rude) answer(stream uint32, end bool, fields ...string) {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for i := 0; i+1 < len(fields); i += 2 {
		_ = encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	_ = r.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: end})
}

// serveRude calls on for every frame that comes; it says false to end the connection.
func serveRude(t *testing.T, on func(r *rude, f http2.Frame) bool) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	wg.Go(func() {
		for count := 1; ; count++ {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[nc] = true
			mu.Unlock()
			wg.Go(func() {
				defer nc.Close()
				if _, err := io.ReadFull(nc, make([]byte, len(http2.ClientPreface))); err != nil {
					return
				}
				r := &rude{http2.NewFramer(nc, nc), nc, count}
				_ = r.WriteSettings()
				for {
					f, err := r.ReadFrame()
					if err != nil {
						return
					}
					if f.Header().Type == http2.FrameSettings && !f.(*http2.SettingsFrame).IsAck() {
						_ = r.WriteSettingsAck()
					}
					if !on(r, f) {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for nc := range open {
			_ = nc.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l
}

func isHead(f http2.Frame) bool { return f.Header().Type == http2.FrameHeaders }

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

// halting is a body that stops after its first bytes until it is interrupted.
type halting struct {
	first string
	stop  chan struct{}
	once  sync.Once
}

func (h *halting) Read(p []byte) (int, error) {
	if h.first != "" {
		n := copy(p, h.first)
		h.first = h.first[n:]
		return n, nil
	}
	<-h.stop
	return 0, exchange.ErrBodyCut
}

func (h *halting) Interrupt() { h.once.Do(func() { close(h.stop) }) }

// Nobody reads the client's body any more when a response is over or a trip has failed.
func TestBodyIsLeftAlone(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]bool{"answered early": false, "refused": true} {
		l := serveRude(t, func(r *rude, f http2.Frame) bool {
			switch {
			case f.Header().Type == http2.FrameData && refuse:
				_ = r.WriteRSTStream(f.Header().StreamID, http2.ErrCodeRefusedStream)
			case f.Header().Type == http2.FrameData:
				r.answer(f.Header().StreamID, true, ":status", "413")
			}
			return true
		})
		p := newPools(t, client.Options{}).Pool(addrOf(l), upstream.Link{Protocol: upstream.HTTP2})
		body := &halting{first: "some", stop: make(chan struct{})}
		ex := post(body)
		err := p.RoundTrip(t.Context(), ex, &client.Head{Target: "/", Host: "a"}, patience)
		if failure, _ := err.(*client.Error); refuse && (failure == nil || failure.Repeatable(ex)) || !refuse && (err != nil || ex.Response.Status != 413) {
			t.Errorf("%s: RoundTrip = %v, %d", name, err, ex.Response.Status)
		}
		select {
		case <-body.stop:
		default:
			t.Errorf("%s: somebody still reads", name)
		}
	}
}

// A client's body that fails is the client's doing, and a client that leaves ends the wait.
func TestClientsThatFail(t *testing.T) {
	t.Parallel()
	came := make(chan struct{}, 8)
	l := serveRude(t, func(_ *rude, f http2.Frame) bool {
		if isHead(f) {
			came <- struct{}{}
		}
		return true
	})
	p := newPools(t, client.Options{}).Pool(addrOf(l), upstream.Link{Protocol: upstream.HTTP2})
	ex := post(io.MultiReader(strings.NewReader("x"), &halting{stop: closed()}))
	failure, _ := p.RoundTrip(t.Context(), ex, &client.Head{Target: "/", Host: "a"}, patience).(*client.Error)
	if failure == nil || failure.Kind != client.ClientBody || failure.Err != exchange.ErrBodyCut {
		t.Errorf("RoundTrip = %v, want the client's fault", failure)
	}
	<-came
	ex = post(nil)
	ex.Client = &leaver{when: came}
	failure, _ = p.RoundTrip(t.Context(), ex, &client.Head{Target: "/", Host: "a"}, patience).(*client.Error)
	if failure == nil || failure.Kind != client.ClientGone || failure.Repeatable(ex) {
		t.Errorf("RoundTrip = %v, want that the client has gone", failure)
	}
}

func closed() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// leaver is a client that leaves at some moment.
type leaver struct {
	when chan struct{}
	done chan struct{}
}

func (l *leaver) Watch(a exchange.Aborter) {
	l.done = make(chan struct{})
	go func() {
		defer close(l.done)
		<-l.when
		a.Abort()
	}()
}

func (l *leaver) Unwatch() bool {
	<-l.done
	return true
}
