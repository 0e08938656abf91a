package http2server

import (
	"strings"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

// maxPieces bounds the frames that one header list comes in: CVE-2024-27316.
const maxPieces = 16

// headers takes the first frame of a header list, RFC 9113 §6.2.
func (c *conn) headers(f frame, payload []byte) error {
	if f.stream&1 == 0 {
		return codeProtocol
	}
	padding := 0
	if f.has(flagPadded) {
		if len(payload) == 0 {
			return codeFrameSize
		}
		padding, payload = int(payload[0]), payload[1:]
	}
	if f.has(flagPriority) {
		if len(payload) < 5 {
			return codeFrameSize
		}
		payload = payload[5:]
	}
	if padding > len(payload) {
		return codeProtocol
	}
	payload = payload[:len(payload)-padding]
	if f.has(flagEndHeaders) {
		return c.listed(f, payload)
	}
	c.opening, c.pieces = f, 1
	c.block = c.srv.blocks.Large()
	c.blocked = copy(c.block.B, payload)
	return nil
}

// continued takes a further one. A list in so many pieces, or so long, is no honest one: the connection ends.
func (c *conn) continued(f frame, payload []byte) error {
	if c.pieces++; c.pieces > maxPieces || len(payload) > len(c.block.B)-c.blocked {
		return codeCalm
	}
	c.blocked += copy(c.block.B[c.blocked:], payload)
	if !f.has(flagEndHeaders) {
		return nil
	}
	err := c.listed(c.opening, c.block.B[:c.blocked])
	c.srv.blocks.Give(c.block)
	c.block = nil
	return err
}

// listed takes a whole header list: a request, or a request's trailers. It is decoded in any case, or the next ones could not be.
func (c *conn) listed(f frame, block []byte) error {
	c.mu.Lock()
	fresh := f.stream > c.last
	known := c.living(f.stream) != nil || c.wasReset(f.stream)
	full := fresh && (c.open >= c.srv.options.MaxStreams || len(c.streams) >= 2*c.srv.options.MaxStreams)
	late := fresh && c.bye >= parting
	if fresh && !late {
		c.last = f.stream
	}
	c.mu.Unlock()
	switch {
	case !known && !fresh:
		return codeClosed
	case fresh && late:
		return c.skip(block) // the client knows that it was not served
	case fresh && full:
		if c.tired() {
			return codeCalm
		}
		c.reset(f.stream, codeRefused)
		return c.skip(block)
	case fresh:
		return c.request(f, block)
	}
	return c.trailers(f, block)
}

func (c *conn) skip(block []byte) error {
	if c.fields.Decode(block, func(string, string, bool) {}) != nil {
		return codeFields
	}
	return nil
}

// reset ends a stream that has no handler.
func (c *conn) reset(id uint32, why code) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.say(appendReset(nil, id, why))
	c.noteReset(id)
}

// request begins a stream.
func (c *conn) request(f frame, block []byte) error {
	ex := c.srv.exchanges.Take()
	ex.Start = time.Now()
	ex.Context = c.srv.options.Base
	r := &ex.Request
	r.Peer, r.ClientAddr = c.peer, c.peer.Remote.Addr()
	r.Scheme, r.TLS, r.Handshake = c.scheme, c.tls, c.policy
	r.Major = 2
	ex.Sent.RequestBytes = int64(frameHead + len(block))
	c.list.begin(ex, &c.srv.options)
	if c.fields.Decode(block, c.onField) != nil {
		c.srv.exchanges.Give(ex)
		return codeFields
	}
	fault, ok := c.list.request(f.has(flagEndStream))
	if !ok {
		c.srv.exchanges.Give(ex)
		if c.tired() {
			return codeCalm
		}
		c.reset(f.stream, codeProtocol)
		return nil
	}
	s := c.srv.stream(c, f.stream, ex, fault)
	s.recvDone = f.has(flagEndStream)
	s.begin()
	c.mu.Lock()
	s.send = c.takes
	c.streams = append(c.streams, s)
	c.open++
	c.mu.Unlock()
	c.srv.crew.do(s)
	return nil
}

const (
	maxTrailers     = 32
	maxTrailerBytes = 8 << 10
)

// trailers ends a request's body, RFC 9113 §8.1. Their bytes are allocated: who reads the body may be another goroutine than the
// exchange's.
func (c *conn) trailers(f frame, block []byte) error {
	var fields []exchange.Field
	bytes, bad := 0, false
	err := c.fields.Decode(block, func(name, value string, _ bool) {
		bytes += len(name) + len(value)
		bad = bad || len(fields) == maxTrailers || bytes > maxTrailerBytes || !validName(name) || !validValue(value) || wire.HopByHop(name)
		if !bad && !wire.ForbiddenTrailer(name) {
			fields = append(fields, exchange.Field{Name: strings.Clone(name), Value: strings.Clone(value)})
		}
	})
	if err != nil {
		return codeFields
	}
	c.mu.Lock()
	s := c.find(f.stream)
	switch {
	case s == nil || s.ended || s.reset: // the client did not know
		if c.tired() {
			err = codeCalm
		}
	case s.recvDone:
		c.kill(s, codeClosed)
	case bad || !f.has(flagEndStream):
		c.kill(s, codeProtocol)
	default:
		s.trailers = fields
		s.end()
	}
	c.mu.Unlock()
	return err
}
