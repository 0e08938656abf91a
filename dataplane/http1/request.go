package http1

import (
	"io"
	"net"
	"os"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

// preface opens an HTTP/2 connection, RFC 9113 §3.4; to us it looks like a whole head.
const preface = "PRI * HTTP/2.0\r\n\r\n"

// request reads, serves and answers one request. keep says that the connection can take another one.
func (c *conn) request() (keep, handedOver bool) {
	ex := c.parsed
	if c.parsed = nil; ex == nil {
		n, err := c.readHead()
		if err != nil {
			if fault, ok := err.(wire.Fault); ok {
				c.refuse(c.begin(), fault)
			}
			return false, false
		}
		if c.isPreface(n) {
			c.handOver()
			return false, true
		}
		ex = c.parse(n)
	}
	if c.fault != 0 {
		c.refuse(ex, c.fault)
		return false, false
	}
	return c.answer(ex) && c.body.drain(), false
}

// isPreface says whether the first n bytes of the connection are HTTP/2's preface and somebody takes it.
func (c *conn) isPreface(n int) bool {
	return n == len(preface) && c.requests == 0 && c.srv.options.Preface != nil && string(c.in.Buffered()[:n]) == preface
}

// parse makes an exchange of the head of n bytes. What is wrong with it is in c.fault.
func (c *conn) parse(n int) *exchange.Exchange {
	c.requests++
	ex := c.begin()
	ex.Sent.RequestBytes = int64(n)
	head := ex.Bytes(n)
	copy(head, c.in.Buffered())
	c.in.Discard(n)
	c.in.Release() // an upstream may be waited for: meanwhile the next request is read into the same block, which the caches still hold
	c.fault = 0
	if err := wire.ParseRequest(ex, head, &c.head); err != nil {
		c.fault, _ = err.(wire.Fault)
		return ex
	}
	c.body.begin(c, ex)
	return ex
}

// answer serves the request and says whether the connection can be kept.
func (c *conn) answer(ex *exchange.Exchange) (keep bool) {
	c.serving = ex
	c.srv.handler.Serve(ex)
	keep = c.respond(ex)
	if !keep && !ex.Sent.ClientGone && !c.body.ended() {
		c.linger()
	}
	ex.Sent.Closing = !keep
	c.srv.handler.Finish(ex)
	c.serving = nil
	c.srv.exchanges.Give(ex)
	return keep
}

// begin takes an exchange and fills in what the connection knows.
func (c *conn) begin() *exchange.Exchange {
	ex := c.srv.exchanges.Take()
	ex.Start = time.Now()
	ex.Context = c.srv.options.Base
	if c.fd != nil {
		ex.Client = c
	}
	r := &ex.Request
	r.Peer, r.ClientAddr = c.peer, c.peer.Remote.Addr()
	r.Scheme, r.TLS, r.Handshake = c.scheme, c.tls, c.policy
	return ex
}

// refuse answers a request that was not understood and closes.
func (c *conn) refuse(ex *exchange.Exchange, fault wire.Fault) {
	c.body.begin(c, ex)
	ex.Response.Header.Reset()
	refuser, tell := c.srv.handler.(exchange.Refuser)
	if tell {
		refuser.Refuse(ex, fault.Status(), fault.Error())
	}
	if !ex.Answered() {
		ex.Answer(fault.Status(), "text/plain; charset=utf-8", []byte(fault.Error()+"\n"))
	}
	ex.Response.Close, ex.Sent.Closing = true, true
	c.respond(ex)
	if !ex.Sent.ClientGone {
		c.linger()
	}
	if tell {
		c.srv.handler.Finish(ex)
	}
	c.srv.exchanges.Give(ex)
}

// readHead reads until a whole head is buffered and returns its length.
func (c *conn) readHead() (int, error) {
	var scan wire.Scanner
	if c.in.Buffered()[0] == '\r' {
		if err := c.skipEmptyLine(); err != nil {
			return 0, err
		}
	}
	if b := c.in.Buffered(); b[0] != '\r' && !exchange.ValidName(exchange.View(b[:1])) {
		return 0, wire.BadRequestLine
	}
	for slow := false; ; {
		n, err := scan.Scan(c.in.Buffered(), &c.srv.limits)
		if n > 0 || err != nil {
			return n, err
		}
		if !slow && (c.raw != nil || c.tls != nil || c.in.Len() > 1) {
			// Most heads come at once and need no deadline of their own.
			slow = true
			c.headDeadline()
		}
		if len(c.in.Free()) == 0 && !c.in.Grow() {
			return 0, wire.HeadTooLarge
		}
		if err := c.in.Fill(); err != nil {
			if isTimeout(err) {
				return 0, wire.SlowHead
			}
			return 0, err
		}
	}
}

// skipEmptyLine forgives one empty line before a request, see await, in however many pieces it comes.
func (c *conn) skipEmptyLine() error {
	for c.in.Len() < 3 {
		if b := c.in.Buffered(); len(b) == 2 && b[1] != '\n' {
			return nil
		}
		c.headDeadline()
		if err := c.in.Fill(); err != nil {
			if isTimeout(err) {
				return wire.SlowHead
			}
			return err
		}
	}
	if c.in.Buffered()[1] == '\n' {
		c.in.Discard(2)
	}
	return nil
}

func (c *conn) headDeadline() {
	wait := c.srv.options.HeadTimeout
	c.wait = 0
	c.readBy = exchange.Now() + int64(wait)
	_ = c.nc.SetReadDeadline(time.Now().Add(wait))
}

func isTimeout(err error) bool {
	if err == os.ErrDeadlineExceeded {
		return true
	}
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout()
}

// handOver gives the connection, with what was read of it, to whoever speaks HTTP/2.
func (c *conn) handOver() {
	early := append([]byte(nil), c.in.Buffered()...)
	c.in.Drop()
	_ = c.nc.SetDeadline(time.Time{})
	c.srv.options.Preface(&prefixed{Conn: c.nc, early: early})
}

// prefixed is a connection whose first bytes were read already.
type prefixed struct {
	net.Conn
	early []byte
}

// NetConn is the connection itself.
func (p *prefixed) NetConn() net.Conn { return p.Conn }

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.early) > 0 {
		n := copy(b, p.early)
		p.early = p.early[n:]
		return n, nil
	}
	return p.Conn.Read(b)
}

var _ io.Reader = (*prefixed)(nil)
