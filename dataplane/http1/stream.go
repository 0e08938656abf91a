package http1

import (
	"io"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

// chunkRoom is kept free before a stretch of body for the longest chunk-size line, and chunkEnd behind it.
const (
	chunkRoom = 7 // "10000\r\n"
	chunkEnd  = 2
)

// peeker is a stream that knows how many bytes it can give without waiting.
type peeker interface{ Buffered() int }

// stream writes the head w and copies the body behind it, every read at once, so that events arrive when
// they happen. The head goes out with the first bytes if those are at hand, else alone.
func (c *conn) stream(ex *exchange.Exchange, w []byte, how framing, now int64) bool {
	resp := &ex.Response
	if how == noBody {
		return c.deliver(ex, w, nil, now)
	}
	if a, ok := resp.Stream.(exchange.Aborter); ok && ex.Client != nil {
		ex.Client.Watch(a)
		defer ex.Client.Unwatch()
	}
	left := int64(-1)
	if how == counted {
		left = resp.ContentLength
	}
	if p, ok := resp.Stream.(peeker); !ok || p.Buffered() == 0 {
		if !c.deliver(ex, w, nil, now) {
			return false
		}
		w = nil
	}
	block := c.srv.blocks.Large()
	defer c.srv.blocks.Give(block)
	for {
		start := len(w) + chunkRoom
		room := block.B[start : len(block.B)-chunkEnd]
		n, err := resp.Stream.Read(room)
		if left >= 0 {
			if left -= int64(n); left < 0 {
				ex.Sent.Err = errTooLong
				return false
			}
		}
		if n > 0 {
			out := c.stretch(block.B, w, start, n, how == chunked)
			w = nil
			if !c.deliver(ex, out, nil, exchange.Now()) {
				return false
			}
			ex.Sent.BodyBytes += int64(n)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			ex.Sent.Err = err
			return false
		}
		if left == 0 {
			break
		}
	}
	return c.endStream(ex, block.B[:0], w, how, left)
}

// stretch puts head and chunk framing around the n bytes of body that lie at start.
func (c *conn) stretch(b, head []byte, start, n int, chunk bool) []byte {
	begin, end := start, start+n
	if chunk {
		begin -= 2
		b[begin], b[begin+1] = '\r', '\n'
		for size := n; size > 0; size >>= 4 {
			begin--
			b[begin] = "0123456789abcdef"[size&15]
		}
		b[end], b[end+1] = '\r', '\n'
		end += 2
	}
	begin -= len(head)
	copy(b[begin:], head)
	return b[begin:end]
}

// endStream writes what ends the body: the last chunk with the trailers. A body that is too short must not
// look complete.
func (c *conn) endStream(ex *exchange.Exchange, b, head []byte, how framing, left int64) bool {
	if left > 0 {
		ex.Sent.Err = errTooShort
		return false
	}
	b = append(b, head...)
	if how == chunked {
		b = append(b, '0', '\r', '\n')
		for i := range ex.Response.Trailer.Len() {
			if f := ex.Response.Trailer.At(i); !wire.HopByHop(f.Name) {
				b = wire.AppendField(b, f.Name, f.Value)
			}
		}
		b = append(b, '\r', '\n')
	}
	if len(b) == 0 {
		return true
	}
	return c.deliver(ex, b, nil, exchange.Now())
}

// tunnel writes the 101 and lends the connection to the tunnel.
func (c *conn) tunnel(ex *exchange.Exchange, now int64) error {
	w := wire.AppendStatusLine(nil, 101)
	w = append(w, "Connection: Upgrade\r\nUpgrade: "...)
	w = append(w, ex.Response.Upgrade...)
	w = append(w, '\r', '\n')
	for name, value := range ex.Response.Header.All() {
		if !wire.HopByHop(name) {
			w = wire.AppendField(w, name, value)
		}
	}
	w = append(w, '\r', '\n')
	ex.Sent.HeadBytes = int64(len(w))
	if err := c.write(w, now); err != nil {
		ex.Sent.ClientGone = true
		return err
	}
	early := append([]byte(nil), c.in.Buffered()...)
	c.in.Drop()
	_ = c.nc.SetDeadline(time.Time{})
	return ex.Response.Tunnel.Run(c.nc, early)
}
