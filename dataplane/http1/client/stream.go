package client

import (
	"bytes"
	"io"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

// stream is the body of a response as it comes.
type stream struct {
	c       *Conn
	ex      *exchange.Exchange
	left    int64 // bytes to come; -1: until the connection ends
	chunked bool
	dec     wire.Chunked
	err     error // sticky
	closed  bool
}

// deliver puts the response into ex. It returns true when the body is here already: then it is handed over as bytes and
// the connection is free.
func (c *Conn) deliver(ex *exchange.Exchange, head *Head, status int) (complete bool, err error) {
	r := &ex.Response
	r.Origin, r.Status = exchange.Upstream, status
	r.Body, r.ContentLength = nil, c.head.Length
	s := stream{c: c, ex: ex, chunked: c.head.Chunked, left: c.head.Length}
	switch {
	case wire.Bodiless(method(ex, head), status):
		s.chunked, s.left = false, 0
		if c.head.Chunked {
			r.ContentLength = -1
		}
	case s.chunked:
		r.ContentLength, s.left = -1, -1
		s.dec.Reset(&c.in, &r.Trailer)
	}
	c.ends = s.chunked || s.left >= 0
	r.OpenEnded = !c.ends
	if c.sender == nil {
		if complete, err = s.inline(r); complete || err != nil {
			return complete, err
		}
	}
	// A stream of its own, not a part of the connection: whoever keeps or closes it too long must not reach the
	// next request's response.
	r.Stream = &stream{c: c, ex: ex, left: s.left, chunked: s.chunked, dec: s.dec}
	return false, nil
}

// inline hands the body over as bytes when all of it is buffered.
func (s *stream) inline(r *exchange.Response) (bool, error) {
	buffered := s.c.in.Buffered()
	switch {
	case s.chunked:
		// The end of a chunked body looks like this; should a chunk end so by chance, the reads below wait for the real end.
		if len(buffered) > maxInlineResponse || !bytes.HasSuffix(buffered, []byte("0\r\n\r\n")) {
			return false, nil
		}
		return s.inlineChunked(r)
	case s.left == 0:
		return true, nil
	case s.left < 0 || s.left > int64(len(buffered)) || s.left > maxInlineResponse:
		return false, nil
	}
	r.Body = s.ex.Bytes(int(s.left))
	copy(r.Body, buffered)
	s.c.in.Discard(int(s.left))
	return true, nil
}

// inlineChunked decodes a short chunked body; the response then has a length, and one write carries it.
func (s *stream) inlineChunked(r *exchange.Response) (bool, error) {
	dec := &s.c.dec
	*dec = s.dec
	body := s.ex.Bytes(s.c.in.Len())
	n := 0
	for {
		got, err := dec.Read(body[n:])
		n += got
		if err == io.EOF {
			break
		}
		if err != nil {
			return false, err
		}
		if n == len(body) { // a chunk did end so by chance
			body = append(body, make([]byte, wire.SmallBlock)...)
		}
	}
	if r.Trailer.Len() > 0 {
		r.Stream = io.NopCloser(bytes.NewReader(body[:n]))
	} else {
		r.Body, r.ContentLength = body[:n], int64(n)
	}
	return true, nil
}

// reusable: the response was read to its end; may another one come over the connection?
func (c *Conn) reusable() bool { return !c.head.Close && c.ends }

// Read implements io.Reader. Its errors other than io.EOF mean that the body is not complete.
func (s *stream) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.read(p)
	if err != nil {
		s.err = err
		if n > 0 && err != io.EOF {
			return n, nil
		}
	}
	return n, err
}

func (s *stream) read(p []byte) (int, error) {
	if s.closed {
		return 0, io.ErrClosedPipe
	}
	switch {
	case s.chunked:
		return s.dec.Read(p)
	case s.left == 0:
		return 0, io.EOF
	case s.left < 0:
		return s.c.in.Read(p)
	}
	n, err := s.c.in.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	switch {
	case s.left == 0:
		return n, io.EOF
	case err == io.EOF:
		return n, io.ErrUnexpectedEOF
	}
	return n, err
}

// Buffered is how many bytes can be read without waiting; framing counts too.
func (s *stream) Buffered() int {
	if s.closed {
		return 0
	}
	return s.c.in.Len()
}

// Abort implements [exchange.Aborter]. Not to be called after Close.
func (s *stream) Abort() { s.c.Abort() }

// Close ends the response. Read to its end, with the request sent whole, the connection goes back to the pool; otherwise it
// is closed. Nobody reads the client's body any more when it returns.
func (s *stream) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	c := s.c
	sent := c.sender.stop(c, s.ex)
	c.sender, c.at = nil, exchange.Now()
	c.finish(sent && (s.err == io.EOF || s.left == 0) && c.reusable())
	return nil
}
