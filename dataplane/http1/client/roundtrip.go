package client

import (
	"errors"
	"io"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

var (
	errAborted    = errors.New("the client left")
	errUnsendable = errors.New("method, target or host cannot be sent")
	errInterim    = errors.New("too many interim responses")
	errSwitch     = errors.New("101 without being asked")
)

// maxInterim bounds 1xx responses before the final one.
const maxInterim = 8

const defaultWait = int64(60 * time.Second)

// RoundTrip sends ex's request with head in front of it and fills ex.Response: Status, Header, and Body or Stream. The
// connection then belongs to the response and gives itself back to its pool. On error (always an [*Error]) it is closed and
// ex.Response empty. Headers that should go with the response are set after it.
func (c *Conn) RoundTrip(ex *exchange.Exchange, head *Head) error {
	c.uses++
	c.finished, c.heard, c.sender = false, false, nil
	c.readWait, c.writeWait = int64(head.ReadTimeout), int64(head.WriteTimeout)
	if c.readWait <= 0 {
		c.readWait = defaultWait
	}
	if c.writeWait <= 0 {
		c.writeWait = defaultWait
	}
	if !sendable(ex, head) {
		return c.fail(ex, head, &Error{Kind: BadRequest, Err: errUnsendable})
	}
	length := ex.Request.ContentLength
	streamed := length < 0 || length > maxInlineBody
	if err := c.prepare(ex, head, streamed); err != nil {
		return c.fail(ex, head, &Error{Kind: ClientBody, Err: err, BodyRead: true})
	}
	if ex.Client != nil {
		ex.Client.Watch(c)
	}
	complete := false
	err := c.send(ex, streamed)
	if err == nil {
		complete, err = c.receive(ex, head)
	}
	if ex.Client != nil && ex.Client.Unwatch() {
		err = &Error{Kind: ClientGone, Err: errAborted, Sent: true}
	}
	if err != nil {
		return c.fail(ex, head, err)
	}
	if complete { // only now: until Unwatch the connection could have been aborted
		c.finish(c.reusable())
	}
	return nil
}

// prepare builds what is written first: the head, and a small body behind it.
func (c *Conn) prepare(ex *exchange.Exchange, head *Head, streamed bool) error {
	c.body = nil
	length := ex.Request.ContentLength
	if streamed || length > wire.SmallBlock-3<<10 {
		c.block = c.pool.blocks.Large()
	} else {
		c.block = c.pool.blocks.Small()
	}
	w := appendHead(c.block.B[:0], ex, head, length)
	if length > 0 && !streamed {
		start := len(w)
		if cap(w)-start < int(length) {
			w = append(make([]byte, 0, start+int(length)), w...)
		}
		w = w[:start+int(length)]
		if _, err := io.ReadFull(ex.Request.Body, w[start:]); err != nil {
			return bodyError(err)
		}
		c.body = w[start:]
	}
	c.once = once{out: w}
	return nil
}

// bodyError keeps the errors of a client's body and explains a missing end.
func bodyError(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return exchange.ErrBodyCut
	}
	return err
}

// send writes the request, or starts to, and on a plain socket waits for the first bytes of the response too.
func (c *Conn) send(ex *exchange.Exchange, streamed bool) error {
	idle := c.uses > 1
	if c.plain == nil || streamed {
		if idle && !c.clean() {
			return c.stale(false)
		}
		if streamed {
			c.sender = startSender(c, ex)
			return nil
		}
		out := c.once.out
		if err := c.write(out); err != nil {
			return c.broken(err, true)
		}
		c.written()
		ex.Mark(exchange.UpstreamSent)
		return nil
	}
	c.once.peek = idle
	ex.MarkAt(exchange.UpstreamSent, c.readDeadline())
	err := c.plain.Read(c.step)
	if c.once.slow && err == nil {
		c.once.slow = false
		if err = c.write(c.once.out); err != nil {
			return c.broken(err, true)
		}
		c.written()
		return nil // receive reads on
	}
	switch {
	case c.once.stale:
		return c.stale(false)
	case err != nil:
		return c.broken(err, c.once.wrote)
	case c.once.err != nil:
		return c.broken(c.once.err, c.once.wrote)
	}
	return nil
}

// receive reads the response's head, past interim ones.
func (c *Conn) receive(ex *exchange.Exchange, head *Head) (complete bool, err error) {
	for range maxInterim {
		status, err := c.readHead(ex)
		if err != nil {
			return false, err
		}
		if status == 101 {
			if !head.Upgrade || ex.Request.Upgrade == "" || !c.head.Upgrade || !exchange.EqualFold(c.head.Protocol, ex.Request.Upgrade) {
				return false, &Error{Kind: Malformed, Err: errSwitch, Sent: true}
			}
			c.becomeTunnel(ex)
			return false, nil
		}
		if status >= 200 {
			c.at = ex.Mark(exchange.UpstreamHead)
			return c.deliver(ex, head, status)
		}
		ex.Response.Header.Reset()
	}
	return false, &Error{Kind: Malformed, Err: errInterim, Sent: true}
}

func (c *Conn) readHead(ex *exchange.Exchange) (status int, err error) {
	var scan wire.Scanner
	for {
		c.heard = c.heard || c.in.Len() > 0
		n, err := scan.Scan(c.in.Buffered(), &headLimits)
		if err != nil {
			return 0, &Error{Kind: Malformed, Err: err, Sent: true}
		}
		if n > 0 {
			head := ex.Bytes(n)
			copy(head, c.in.Buffered())
			c.in.Discard(n)
			if status, err = wire.ParseResponse(ex, head, &c.head); err != nil {
				return 0, &Error{Kind: Malformed, Err: err, Sent: true}
			}
			return status, nil
		}
		if len(c.in.Free()) == 0 && !c.in.Grow() {
			return 0, &Error{Kind: Malformed, Err: wire.HeadTooLarge, Sent: true}
		}
		if err := c.in.Fill(); err != nil {
			return 0, c.broken(err, true)
		}
	}
}

// stale: the idle connection was closed, or dirty, before anything was sent.
func (c *Conn) stale(sent bool) error { return &Error{Kind: Stale, Err: ErrStale, Sent: sent} }

// broken names what ended the connection before a response.
func (c *Conn) broken(err error, sent bool) error {
	if failure := c.sender.clientError(); failure != nil {
		return &Error{Kind: ClientBody, Err: failure, Sent: true}
	}
	switch {
	case c.aborted.Load() || err == errAborted:
		return &Error{Kind: ClientGone, Err: errAborted, Sent: sent}
	case isTimeout(err):
		return &Error{Kind: Timeout, Err: err, Sent: sent}
	case c.uses > 1 && !c.heard:
		return &Error{Kind: Stale, Err: errors.Join(ErrStale, err), Sent: sent}
	}
	return &Error{Kind: Closed, Err: err, Sent: sent}
}

// fail ends the connection and completes what err says. Nobody reads the client's body any more when it returns; a
// small one that was read is put back, so that it can be sent again.
func (c *Conn) fail(ex *exchange.Exchange, head *Head, err error) error {
	e, ok := err.(*Error)
	if !ok {
		e = &Error{Kind: Malformed, Err: err, Sent: true}
	}
	e.Idempotent = idempotent(method(ex, head))
	streamed := c.sender != nil
	c.sender.stop(c, ex)
	e.Waiting = c.sender.clientError() != nil // it was broken off where it waited
	c.sender = nil
	if length := ex.Request.ContentLength; e.BodyRead || streamed {
		e.BodyRead = true
	} else if length > 0 && c.body != nil {
		body := ex.Bytes(len(c.body))
		copy(body, c.body)
		ex.SetBody(body)
	}
	c.body = nil
	r := &ex.Response
	r.Status, r.Origin, r.Body, r.Stream, r.ContentLength, r.OpenEnded = 0, exchange.Nobody, nil, nil, 0, false
	r.Header.Reset()
	r.Trailer.Reset()
	c.finish(false)
	return e
}
