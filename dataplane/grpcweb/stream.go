package grpcweb

import (
	"encoding/base64"
	"io"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// decoder reads base64 that was written in pieces, each of which may be padded.
type decoder struct {
	src  io.Reader
	in   [4 << 10]byte
	out  [3 << 10]byte
	rest []byte // of in: an incomplete group
	here []byte // of out: decoded and not read yet
	err  error  // sticky
}

// Read implements io.Reader. What is no base64 is [exchange.ErrBodyMalformed].
func (d *decoder) Read(p []byte) (int, error) {
	for len(d.here) == 0 {
		if d.err != nil {
			return 0, d.err
		}
		if len(p) == 0 {
			return 0, nil
		}
		d.fill()
	}
	n := copy(p, d.here)
	d.here = d.here[n:]
	return n, nil
}

func (d *decoder) fill() {
	kept := copy(d.in[:], d.rest)
	n, err := d.src.Read(d.in[kept:])
	have := d.in[:kept+n]
	whole := len(have) &^ 3
	d.rest = have[whole:]
	out, ok := decode(d.out[:0], have[:whole])
	d.here = out
	switch {
	case !ok:
		d.here, d.err = nil, exchange.ErrBodyMalformed
	case err == io.EOF && len(d.rest) > 0:
		d.err = exchange.ErrBodyMalformed
	case err != nil:
		d.err = err
	}
}

// decode appends what whole groups of four letters say.
func decode(out, groups []byte) ([]byte, bool) {
	for len(groups) > 0 {
		end := len(groups) // of the letters up to the next padding
		for i := 3; i < len(groups); i += 4 {
			if groups[i] == '=' {
				end = i + 1
				break
			}
		}
		start := len(out)
		out = out[:start+end/4*3]
		for _, c := range groups[:end] {
			if c == '\r' || c == '\n' { // the library would skip them, and the groups would be others
				return nil, false
			}
		}
		n, err := base64.StdEncoding.Decode(out[start:], groups[:end])
		if err != nil {
			return nil, false
		}
		out = out[:start+n]
		groups = groups[end:]
	}
	return out, true
}

// Interrupt makes reading fail, as far as the body underneath can.
func (d *decoder) Interrupt() {
	if body, ok := d.src.(interface{ Interrupt() }); ok {
		body.Interrupt()
	}
}

// encoder is a response's body with its trailers behind it. In text each read is encoded by itself, padding included, so that
// nothing waits for what comes later.
type encoder struct {
	src  io.ReadCloser
	ex   *exchange.Exchange
	text bool
	raw  []byte // scratch of text
	out  []byte // scratch of text, and the frame of trailers
	here []byte // of out: not read yet
	err  error  // sticky
}

// textRead is how much is encoded at once.
const textRead = 12 << 10

// Read implements io.Reader.
func (e *encoder) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(e.here) == 0 {
		if e.err != nil {
			return 0, e.err
		}
		if n := e.fill(p); n > 0 {
			return n, nil
		}
	}
	n := copy(p, e.here)
	e.here = e.here[n:]
	return n, nil
}

// fill reads once: binary into p, whose filled length it returns, text and trailers into e.here.
func (e *encoder) fill(p []byte) (n int) {
	if e.text && e.raw == nil {
		e.raw = make([]byte, textRead)
	}
	if e.text {
		p = e.raw
	}
	n, e.err = e.src.Read(p)
	if e.text {
		e.out = encode(e.out[:0], p[:n])
		n = 0
	}
	if e.err == io.EOF {
		frame := appendTrailers(nil, &e.ex.Response.Trailer)
		if e.text {
			frame = encode(nil, frame)
		}
		e.out = append(e.out, frame...)
	}
	e.here = e.out
	if !e.text {
		e.out = nil
	}
	return n
}

func encode(out, raw []byte) []byte { return base64.StdEncoding.AppendEncode(out, raw) }

// Close implements io.Closer.
func (e *encoder) Close() error { return e.src.Close() }

// Abort implements [exchange.Aborter].
func (e *encoder) Abort() {
	if a, ok := e.src.(exchange.Aborter); ok {
		a.Abort()
	}
}
