package http2server_test

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
	"github.com/keepgate/keepgate/dataplane/http2server"
)

// script is a client's connection that says what it has to say and listens to nothing.
type script struct {
	net.Conn
	rest  []byte
	piece int // bytes that come at once
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.rest[:min(s.piece, len(s.rest))])
	s.rest = s.rest[n:]
	return n, nil
}

func (*script) Write(p []byte) (int, error)      { return len(p), nil }
func (*script) Close() error                     { return nil }
func (*script) SetDeadline(time.Time) error      { return nil }
func (*script) SetReadDeadline(time.Time) error  { return nil }
func (*script) SetWriteDeadline(time.Time) error { return nil }
func (*script) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

func (*script) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

// judge is a handler that holds what it is given to what is promised.
type judge struct{ t *testing.T }

func (j judge) Serve(ex *exchange.Exchange) {
	r := &ex.Request
	if !exchange.ValidName(r.Method) || r.Method == "CONNECT" || r.Host == "" || r.Major != 2 {
		j.t.Errorf("%q %q", r.Method, r.Host)
	}
	if again, err := exchange.Normalise(nil, string(exchange.AppendEscaped(nil, r.Path))); err != nil || string(again) != r.Path {
		j.t.Errorf("path %q, then %q, %v", r.Path, again, err)
	}
	for name, value := range r.Header.All() {
		if !exchange.ValidName(name) || strings.ToLower(name) != name || !exchange.ValidValue(value) || wire.HopByHop(name) {
			j.t.Errorf("field %q: %q", name, value)
		}
	}
	length := r.ContentLength
	body, err := io.ReadAll(r.Body)
	if err == nil && length >= 0 && int64(len(body)) != length {
		j.t.Errorf("%d bytes, announced %d", len(body), length)
	}
	if err != nil && exchange.StatusOf(err) == 0 {
		j.t.Errorf("the body ends in %v", err)
	}
	for name, value := range r.Trailer.All() {
		if !exchange.ValidName(name) || !exchange.ValidValue(value) || wire.ForbiddenTrailer(name) {
			j.t.Errorf("trailer %q: %q", name, value)
		}
	}
	ex.Answer(200, "text/plain", body)
}

func (judge) Finish(*exchange.Exchange) {}

// FuzzServer gives the server whatever a client could say after the preface, in pieces of any size.
func FuzzServer(f *testing.F) {
	settings := "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	frames := func(make func(r *raw)) string {
		var b bytes.Buffer
		r := &raw{t: f, nc: recorder{&script{}, &b}}
		r.Framer = http2.NewFramer(&b, nil)
		r.AllowIllegalWrites = true
		r.fields = newEncoder(&r.block)
		make(r)
		return settings + b.String()
	}
	for _, seed := range []string{
		settings,
		frames(func(r *raw) {
			r.open(1, true, request("GET", "/a?b", "cookie", "a", "cookie", "b", "te", "trailers")...)
		}),
		frames(func(r *raw) {
			r.open(1, false, request("POST", "/", "content-length", "4")...)
			_ = r.WriteData(1, true, []byte("body"))
			r.open(3, true, request("GET", "/")...)
		}),
		frames(func(r *raw) {
			r.open(1, false, request("POST", "/")...)
			_ = r.WriteDataPadded(1, false, []byte("body"), make([]byte, 9))
			r.open(1, true, "x-sum", "1")
			_ = r.WritePing(false, [8]byte{})
			_ = r.WriteWindowUpdate(1, 5)
			_ = r.WriteRSTStream(1, 8)
			_ = r.WritePriority(3, http2.PriorityParam{StreamDep: 1})
			_ = r.WriteGoAway(0, 0, nil)
		}),
		frames(func(r *raw) {
			block := bytes.Clone(r.list(request("GET", "/")...))
			_ = r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:2], EndStream: true})
			_ = r.WriteContinuation(1, false, block[2:5])
			_ = r.WriteContinuation(1, true, block[5:])
			_ = r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 3}, http2.Setting{ID: http2.SettingHeaderTableSize})
		}),
	} {
		f.Add([]byte(seed), uint8(0))
		f.Add([]byte(seed), uint8(3))
	}
	f.Fuzz(func(t *testing.T, said []byte, piece uint8) {
		size := int(piece)
		if size == 0 {
			size = 1 << 20
		}
		panicked := func(v any, stack []byte) { t.Errorf("panic: %v\n%s", v, stack) }
		server := http2server.New(judge{t}, http2server.Options{Panicked: panicked})
		server.ServeConn(&script{rest: append([]byte(http2.ClientPreface), said...), piece: size})
		if err := server.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// recorder is a connection of which only what is written matters.
type recorder struct {
	net.Conn
	to io.Writer
}

func (r recorder) Write(p []byte) (int, error) { return r.to.Write(p) }
