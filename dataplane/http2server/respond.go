package http2server

import (
	"errors"
	"io"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
	"github.com/keepgate/keepgate/dataplane/http2server/hpack"
)

var (
	errUnanswered = errors.New("the handler gave no response")
	errStatus     = errors.New("the handler gave an impossible status")
	errLength     = errors.New("the body has not the length it was announced with")
)

// respond writes the response. One that could not be written whole is reset when the stream ends.
func (s *stream) respond() {
	ex := s.ex
	resp := &ex.Response
	ex.Mark(exchange.ServeDone)
	switch {
	case resp.Status == 0:
		ex.Sent.Err = errUnanswered
		return
	case resp.Status < 200 || resp.Status > 599:
		ex.Answer(500, "", nil)
		ex.Sent.Err = errStatus
	}
	if resp.GoAway {
		s.c.leave()
	}
	block := s.block()
	defer s.c.srv.blocks.Give(block)
	w := s.appendHead(block.B[:0])
	ex.Sent.HeadBytes = int64(len(w))
	switch {
	case wire.Bodiless(ex.Request.Method, resp.Status), resp.Stream == nil && len(resp.Body) == 0:
		w[4] |= flagEndStream // of the first frame, whatever follows it
		s.sent(s.write(w, isHead|isEnd))
	case resp.Stream == nil:
		s.whole(w, resp.Body)
	default:
		s.stream(w)
	}
	if resp.Stream != nil {
		_ = resp.Stream.Close()
		resp.Stream = nil
	}
}

// block takes a block that holds head and body where it can.
func (s *stream) block() *wire.Block {
	if r := &s.ex.Response; r.Stream == nil && len(r.Body) > wire.SmallBlock-2048 {
		return s.c.srv.blocks.Large()
	}
	return s.c.srv.blocks.Small()
}

// sent notes an error of writing and says whether there was none.
func (s *stream) sent(err error) bool {
	if err != nil {
		s.ex.Sent.Err, s.ex.Sent.ClientGone = err, true
	}
	return err == nil
}

// appendHead writes the response's header list, without end of stream. What frames the message comes from here alone.
func (s *stream) appendHead(w []byte) []byte {
	ex := s.ex
	resp := &ex.Response
	w = append(w, make([]byte, frameHead)...)
	w = hpack.AppendStatus(w, resp.Status)
	dated := false
	for i := range resp.Header.Len() {
		f := resp.Header.At(i)
		if wire.HopByHop(f.Name) {
			continue
		}
		dated = dated || len(f.Name) == 4 && exchange.EqualFold(f.Name, "Date")
		w = hpack.AppendField(w, f.Name, f.Value)
	}
	if !dated {
		w = append(w, s.c.srv.date.at(ex.Start)...)
	}
	n := resp.ContentLength
	switch {
	case resp.Status == 204 || resp.Status == 304: // of a 304 with a length some clients, Go's own too, wait for the body
		n = -1
	case wire.Bodiless(ex.Request.Method, resp.Status):
	case resp.Stream == nil:
		n = int64(len(resp.Body))
	}
	if n >= 0 {
		w = hpack.AppendNumber(w, "content-length", n)
	}
	return frameList(w, 0, s.id, 0)
}

// frameList makes frames of the header list that begins in w after frameHead bytes at start.
func frameList(w []byte, start int, id uint32, flags uint8) []byte {
	const most = maxFrame - 1 // a byte may be put before, see forgetting
	size := len(w) - start - frameHead
	if size <= most {
		putFrame(w[start:], size, frameHeaders, flags|flagEndHeaders, id)
		return w
	}
	list := append([]byte(nil), w[start+frameHead:]...)
	w = w[:start]
	for kind := uint8(frameHeaders); len(list) > 0; kind = frameContinuation {
		piece := list[:min(most, len(list))]
		list = list[len(piece):]
		if len(list) == 0 {
			flags |= flagEndHeaders
		}
		w = append(appendFrame(w, len(piece), kind, flags, id), piece...)
		flags = 0
	}
	return w
}

// whole writes head and body, together when the client takes that much at once.
func (s *stream) whole(w, body []byte) {
	what := isHead
	for len(body) > 0 {
		n, err := s.reserve(min(len(body), 3*maxFrame), what == 0)
		if err != nil {
			s.sent(err)
			return
		}
		for n > 0 {
			piece := body[:min(n, maxFrame)]
			body, n = body[len(piece):], n-len(piece)
			flags := uint8(0)
			if len(body) == 0 {
				flags, what = flagEndStream, what|isEnd
			}
			w = append(appendFrame(w, len(piece), frameData, flags, s.id), piece...)
			s.c.earn(len(piece), len(body) == 0)
			s.ex.Sent.BodyBytes += int64(len(piece))
		}
		if !s.sent(s.write(w, what)) {
			return
		}
		w, what = w[:0], 0
	}
}

// peeker is a stream that knows how many bytes it can give without waiting.
type peeker interface{ Buffered() int }

// stream writes the head and copies the body behind it, every read at once, so that events arrive when they happen. The head goes out
// with the first bytes if those are at hand, else alone.
func (s *stream) stream(head []byte) {
	ex := s.ex
	resp := &ex.Response
	if a, ok := resp.Stream.(exchange.Aborter); ok && ex.Client != nil {
		ex.Client.Watch(a)
		defer ex.Client.Unwatch()
	}
	// A gRPC call that ends without a message says so in its header, which must then end the stream.
	only := resp.Header.Has("grpc-status")
	p, peeks := resp.Stream.(peeker)
	if !only && (!peeks || p.Buffered() == 0) {
		if !s.sent(s.write(head, isHead|isLazy)) {
			return
		}
		head = nil
	}
	block := s.c.srv.blocks.Large()
	defer s.c.srv.blocks.Give(block)
	left := resp.ContentLength
	for {
		start := len(head) + frameHead
		if start > len(block.B)/2 { // a very large head
			if !s.sent(s.write(head, isHead)) {
				return
			}
			head = nil
			continue
		}
		n, err := resp.Stream.Read(block.B[start:min(start+maxFrame, len(block.B))])
		if left >= 0 {
			if left -= int64(n); left < 0 || err == io.EOF && left > 0 {
				ex.Sent.Err = errLength
				return
			}
		}
		end := err == io.EOF && resp.Trailer.Len() == 0 || peeks && left == 0 // others are asked for their end
		if n > 0 || end && head == nil {
			if !s.stretch(block.B, head, start, n, end) {
				return
			}
			head = nil
		}
		switch {
		case err != nil && err != io.EOF:
			ex.Sent.Err = err
			return
		case end && head != nil:
			head[4] |= flagEndStream
			s.sent(s.write(head, isHead|isEnd))
			return
		case end:
			return
		case err == io.EOF:
			s.trail(head)
			return
		}
	}
}

// stretch writes head and the n bytes of body that lie at start, in as many frames as the client's patience makes of them.
func (s *stream) stretch(b, head []byte, start, n int, end bool) bool {
	what := uint8(0)
	at := start - frameHead
	if len(head) > 0 {
		at -= len(head)
		copy(b[at:], head)
		what = isHead
	}
	for first := true; first || n > 0; first = false {
		size, flags := 0, uint8(0)
		if n > 0 {
			var err error
			if size, err = s.reserve(n, what == 0); !s.sent(err) {
				return false
			}
			if size == 0 { // the head goes out before the client is waited for
				if !s.sent(s.write(b[at:start-frameHead], what)) {
					return false
				}
				at, what = start-frameHead, 0
				continue
			}
		}
		if n -= size; n == 0 && end {
			flags, what = flagEndStream, what|isEnd
		} else if n == 0 && s.ex.Response.ContentLength < 0 {
			what |= isLazy
		}
		putFrame(b[start-frameHead:], size, frameData, flags, s.id)
		if !s.sent(s.write(b[at:start+size], what)) {
			return false
		}
		s.c.earn(size, n == 0)
		s.ex.Sent.BodyBytes += int64(size)
		start += size
		at, what = start-frameHead, 0
	}
	return true
}

// trail ends the response with its trailers.
func (s *stream) trail(head []byte) {
	what := isEnd
	if len(head) > 0 {
		what |= isHead
	}
	start := len(head)
	w := append(head, make([]byte, frameHead)...)
	for name, value := range s.ex.Response.Trailer.All() {
		if !wire.HopByHop(name) {
			w = hpack.AppendField(w, name, value)
		}
	}
	s.sent(s.write(frameList(w, start, s.id, flagEndStream), what))
}
