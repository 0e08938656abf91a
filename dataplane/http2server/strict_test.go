package http2server_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http2server"
)

// Who makes the server reset streams (CVE-2025-8671) is told to calm down like who resets them, also when every handler has left
// before the next stream comes.
func TestMadeToReset(t *testing.T) {
	t.Parallel()
	for name, offend := range map[string]func(r *raw, id uint32){
		"a window of nothing":  func(r *raw, id uint32) { r.frame(8, 0, id, "\x00\x00\x00\x00") },
		"a window too large":   func(r *raw, id uint32) { r.frame(8, 0, id, "\x7f\xff\xff\xff") },
		"data beyond a length": func(r *raw, id uint32) { r.frame(0, 0, id, "1234") },
		"trailers without end": func(r *raw, id uint32) { r.open(id, false, "x", "y") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := greeted(t, start(t, newAnswers(), http2server.Options{}))
			begun := time.Now()
			for i := range uint32(20_000) {
				if free := 3000 + 250*time.Since(begun).Seconds(); float64(i) > free { // somewhat more than what is free
					t.Fatalf("%d streams were begun and reset", i)
				}
				id := 2*i + 1
				r.open(id, false, request("POST", "/echo", "content-length", "3")...)
				offend(r, id)
				switch got := r.next(); {
				case got == "bye ENHANCE_YOUR_CALM" || got == "closed":
					return
				case !strings.HasPrefix(got, "reset "):
					t.Fatal(got)
				}
			}
		})
	}
}

// Frames of streams that were begun too late are ignored, RFC 9113 §6.8: they must not end what is still served.
func TestTooLate(t *testing.T) {
	t.Parallel()
	r := greeted(t, start(t, newAnswers(), http2server.Options{}))
	r.open(1, false, request("POST", "/echo")...)
	_ = r.WriteGoAway(0, 0, nil)
	if got := r.next(); got != "bye NO_ERROR" {
		t.Fatal(got)
	}
	r.open(3, false, request("POST", "/echo")...)
	r.frame(0, 0, 3, "late")
	_ = r.WriteWindowUpdate(3, 5)
	r.open(3, true, "x-sum", "1")
	_ = r.WriteRSTStream(3, 8)
	r.frame(0, 1, 1, "in time")
	for _, want := range []string{"head 1 200", "end 1", "closed"} {
		if got := r.next(); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
	if got := r.body.String(); got != "in time" {
		t.Error(got)
	}
}

// What a client says of streams that have ended, or that it cannot have.
func TestStreamsThatAreNone(t *testing.T) {
	t.Parallel()
	addr := start(t, newAnswers(), http2server.Options{})
	for name, test := range map[string]struct {
		say  func(r *raw)
		want string
	}{
		"data of an ended stream":  {func(r *raw) { r.frame(0, 0, 3, "x") }, "reset 3 STREAM_CLOSED"},
		"data of a skipped stream": {func(r *raw) { r.frame(0, 0, 1, "x") }, "reset 1 STREAM_CLOSED"},
		"data of an even stream":   {func(r *raw) { r.frame(0, 0, 2, "x") }, "bye PROTOCOL_ERROR"},
		"a reset of an even one":   {func(r *raw) { r.frame(3, 0, 2, "1234") }, "bye PROTOCOL_ERROR"},
		"a window of an even one":  {func(r *raw) { _ = r.WriteWindowUpdate(2, 1) }, "bye PROTOCOL_ERROR"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := greeted(t, addr)
			r.open(3, true, request("GET", "/")...)
			for _, want := range []string{"head 3 200", "end 3"} {
				if got := r.next(); got != want {
					t.Fatal(got)
				}
			}
			test.say(r)
			if got := r.next(); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

// lingerer is a handler that does not leave before it is told to, whatever its client does.
type lingerer struct{ leave chan struct{} }

func (l lingerer) Serve(ex *exchange.Exchange) {
	if ex.Request.Path == "/stay" {
		<-l.leave
	}
	ex.Answer(200, "", nil)
}

func (l lingerer) Finish(*exchange.Exchange) { <-l.leave }

// A stream that its client has closed is closed before its handler has left.
func TestClosedByClient(t *testing.T) {
	t.Parallel()
	l := lingerer{make(chan struct{})}
	addr := start(t, l, http2server.Options{})
	t.Cleanup(func() { close(l.leave) })
	reset := func(r *raw) {
		r.open(1, false, request("POST", "/stay")...)
		r.frame(3, 0, 1, "\x00\x00\x00\x08")
	}
	end := func(r *raw) {
		r.open(1, true, request("GET", "/")...)
		if got := r.next(); got != "head 1 200 end" {
			r.t.Fatal(got)
		}
	}
	for name, test := range map[string]struct {
		first, say func(r *raw)
		want       string
	}{
		"data after a reset":     {reset, func(r *raw) { r.frame(0, 1, 1, "x") }, "reset 1 STREAM_CLOSED"},
		"data after the ends":    {end, func(r *raw) { r.frame(0, 1, 1, "x") }, "reset 1 STREAM_CLOSED"},
		"fields after a reset":   {reset, func(r *raw) { r.open(1, true, "x", "y") }, "bye STREAM_CLOSED"},
		"fields after the ends":  {end, func(r *raw) { r.open(1, true, "x", "y") }, "bye STREAM_CLOSED"},
		"a window after a reset": {reset, func(r *raw) { _ = r.WriteWindowUpdate(1, 5); r.open(3, true, request("GET", "/")...) }, "head 3 200 end"},
		"a reset after a reset":  {reset, func(r *raw) { _ = r.WriteRSTStream(1, 8); r.open(3, true, request("GET", "/")...) }, "head 3 200 end"},
		"a reset after the ends": {end, func(r *raw) { _ = r.WriteRSTStream(1, 8); r.open(3, true, request("GET", "/")...) }, "head 3 200 end"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := greeted(t, addr)
			test.first(r)
			test.say(r)
			if got := r.next(); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

// lender lets a body out of its handler, which then panics.
type lender struct{ lent chan io.Reader }

func (l lender) Serve(ex *exchange.Exchange) {
	if ex.Request.Path == "/panic" {
		l.lent <- ex.Request.Body
		panic("on purpose")
	}
	body, _ := io.ReadAll(ex.Request.Body)
	ex.Answer(200, "", body)
}

func (lender) Finish(*exchange.Exchange) {}

// Whoever still reads a body for a handler that has panicked gets an error, and nothing of the next stream's.
func TestBodyAfterPanic(t *testing.T) {
	t.Parallel()
	l := lender{make(chan io.Reader, 1)}
	r := greeted(t, start(t, l, http2server.Options{Panicked: func(any, []byte) {}}))
	r.open(1, false, request("POST", "/panic")...)
	if got := r.next(); got != "reset 1 INTERNAL_ERROR" {
		t.Fatal(got)
	}
	time.Sleep(10 * time.Millisecond) // for the one that panicked to have left
	r.open(3, false, request("POST", "/")...)
	r.frame(0, 0, 3, "secret")
	body := <-l.lent
	func() {
		defer func() {
			if v := recover(); v != nil {
				t.Errorf("reading panics: %v", v)
			}
		}()
		if b, err := io.ReadAll(body); err == nil || len(b) > 0 {
			t.Errorf("%q, %v", b, err)
		}
	}()
	r.frame(0, 1, 3, "")
	for _, want := range []string{"head 3 200", "end 3"} {
		if got := r.next(); got != want {
			t.Fatal(got)
		}
	}
	if got := r.body.String(); got != "secret" {
		t.Error(got)
	}
}

// What could mean one thing here and another behind is refused.
func TestAmbiguousRequests(t *testing.T) {
	t.Parallel()
	addr := start(t, newAnswers(), http2server.Options{})
	const reset = "reset 1 PROTOCOL_ERROR"
	get := func(more ...string) []string { return request("GET", "/", more...) }
	at := func(authority, path string, more ...string) []string {
		return append([]string{":method", "GET", ":scheme", "http", ":authority", authority, ":path", path}, more...)
	}
	for name, test := range map[string]struct {
		fields []string
		want   string
	}{
		"upper case":            {get("X-a", "1"), reset},
		"a colon in a name":     {get("x:y", "1"), reset},
		"a blank in a name":     {get("x y", "1"), reset},
		"an empty name":         {get("", "1"), reset},
		"NUL in a name":         {get("x\x00", "1"), reset},
		"CR in a name":          {get("x\r", "1"), reset},
		"8 bits in a name":      {get("x\xe9", "1"), reset},
		"LF in a value":         {get("x", "a\nb"), reset},
		"CR in a value":         {get("x", "a\rb"), reset},
		"NUL in a value":        {get("x", "a\x00b"), reset},
		"a line in a path":      {at("a.test", "/ HTTP/1.1\r\nx: y"), reset},
		"a blank in a path":     {at("a.test", "/a b"), "head 1 400"},
		"a fragment":            {at("a.test", "/a#b"), "head 1 400"},
		"no slash":              {at("a.test", "a"), reset},
		"a line in a method":    {append([]string{":method", "GET / HTTP/1.1\r\n"}, get()[2:]...), reset},
		"a blank in a method":   {append([]string{":method", "GET /"}, get()[2:]...), reset},
		"an empty method":       {append([]string{":method", ""}, get()[2:]...), reset},
		"a userinfo":            {at("u@a.test", "/"), "head 1 400"},
		"a userinfo with a key": {at("u:p@a.test", "/"), "head 1 400"},
		"a path in a host":      {at("a.test/x", "/"), "head 1 400"},
		"two hosts in one":      {at("a.test,b.test", "/"), "head 1 400"},
		"a port beyond":         {at("a.test:99999", "/"), "head 1 400"},
		"Host with a port":      {at("a.test", "/", "host", "a.test:80"), "head 1 400"},
		"Host beside none":      {at("", "/", "host", "a.test"), "head 1 400"},
		"Connection":            {get("connection", "close"), reset},
		"Keep-Alive":            {get("keep-alive", "1"), reset},
		"Proxy-Connection":      {get("proxy-connection", "close"), reset},
		"Transfer-Encoding":     {get("transfer-encoding", "chunked"), reset},
		"Upgrade":               {get("upgrade", "h2c"), reset},
		"TE":                    {get("te", "gzip"), reset},
		"TE with trailers":      {get("te", "trailers, deflate"), reset},
		"TE twice":              {get("te", "trailers", "te", "trailers"), reset},
		"two lengths":           {get("content-length", "0", "content-length", "0"), reset},
		"a list of lengths":     {get("content-length", "0, 0"), reset},
		"a sign":                {get("content-length", "+0"), reset},
		"below zero":            {get("content-length", "-1"), reset},
		"no length":             {get("content-length", ""), reset},
		"hex":                   {get("content-length", "0x0"), reset},
		"too large a length":    {get("content-length", "18446744073709551616"), reset},
		"a late method":         {append(get()[2:], "x", "y", ":method", "GET"), reset},
		"a late authority":      {[]string{":method", "GET", ":scheme", "http", ":path", "/", "host", "a.test", ":authority", "b.test"}, reset},
		"two methods":           {append(get(), ":method", "GET"), reset},
		"two paths":             {append(get(), ":path", "/"), reset},
		"two authorities":       {append(get(), ":authority", "a.test"), reset},
		"two schemes":           {append(get(), ":scheme", "http"), reset},
		"no method":             {get()[2:], reset},
		"no scheme":             {append(get()[:2:2], get()[4:]...), reset},
		"no path at all":        {get()[:6], reset},
		"a status":              {append(get(), ":status", "200"), reset},
		"an unknown one":        {append(get(), ":x", "y"), reset},
		"nothing":               {nil, reset},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := greeted(t, addr)
			r.open(1, true, test.fields...)
			if got := r.next(); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}
