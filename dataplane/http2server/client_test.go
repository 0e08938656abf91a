package http2server_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// raw is a client that says what it likes.
type raw struct {
	t  testing.TB
	nc net.Conn
	*http2.Framer
	block  bytes.Buffer
	fields *hpack.Encoder
	reader *hpack.Decoder
	body   strings.Builder // of the last response
}

func dial(t testing.TB, addr string) *raw {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(patience))
	r := &raw{t: t, nc: nc, Framer: http2.NewFramer(nc, nc), reader: hpack.NewDecoder(4096, nil)}
	r.AllowIllegalWrites, r.AllowIllegalReads = true, true
	r.SetMaxReadFrameSize(1 << 20)
	r.fields = hpack.NewEncoder(&r.block)
	return r
}

// greeted is a client whose connection has begun.
func greeted(t testing.TB, addr string, settings ...http2.Setting) *raw {
	t.Helper()
	r := dial(t, addr)
	_, _ = io.WriteString(r.nc, http2.ClientPreface)
	_ = r.WriteSettings(settings...)
	return r
}

// list encodes fields, given as names and values.
func (r *raw) list(fields ...string) []byte {
	r.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = r.fields.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return r.block.Bytes()
}

func request(method, path string, more ...string) []string {
	return append([]string{":method", method, ":scheme", "http", ":authority", "a.test", ":path", path}, more...)
}

func (r *raw) open(id uint32, end bool, fields ...string) {
	_ = r.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: r.list(fields...), EndStream: end, EndHeaders: true})
}

// next says in words what the server says next, but for settings, windows and pings.
func (r *raw) next() string {
	for {
		f, err := r.ReadFrame()
		if err != nil {
			if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
				return "silence"
			}
			return "closed"
		}
		switch f := f.(type) {
		case *http2.GoAwayFrame:
			return fmt.Sprint("bye ", f.ErrCode)
		case *http2.RSTStreamFrame:
			return fmt.Sprint("reset ", f.StreamID, " ", f.ErrCode)
		case *http2.HeadersFrame:
			block := bytes.Clone(f.HeaderBlockFragment())
			for done := f.HeadersEnded(); !done; {
				more, err := r.ReadFrame()
				if err != nil {
					return "a list without end"
				}
				block = append(block, more.(*http2.ContinuationFrame).HeaderBlockFragment()...)
				done = more.(*http2.ContinuationFrame).HeadersEnded()
			}
			fields, err := r.reader.DecodeFull(block)
			if err != nil {
				return err.Error()
			}
			r.body.Reset()
			text := fmt.Sprint("head ", f.StreamID)
			if len(fields) > 0 && fields[0].Name == ":status" {
				text += " " + fields[0].Value
			}
			if f.StreamEnded() {
				text += " end"
			}
			return text
		case *http2.DataFrame:
			r.body.Write(f.Data())
			if f.StreamEnded() {
				return fmt.Sprint("end ", f.StreamID)
			}
		}
	}
}

// frame writes a frame byte by byte as it is given.
func (r *raw) frame(kind, flags byte, stream uint32, payload string) {
	head := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	_, _ = r.nc.Write(append(binary.BigEndian.AppendUint32(head, stream), payload...))
}

func newEncoder(to io.Writer) *hpack.Encoder { return hpack.NewEncoder(to) }
