package http1

import (
	"errors"
	"strconv"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

var (
	errUnanswered = errors.New("the handler gave no response")
	errStatus     = errors.New("the handler gave an impossible status")
	errTooShort   = errors.New("the body ended before its length")
	errTooLong    = errors.New("the body went beyond its length")
)

// framing is how a response's body is delimited.
type framing uint8

const (
	noBody  framing = iota // by its status or method
	counted                // Content-Length
	chunked                // Transfer-Encoding: chunked
	closed                 // by the end of the connection
)

// respond writes ex's response and says whether the connection can be kept. What went wrong is in ex.Sent.
func (c *conn) respond(ex *exchange.Exchange) bool {
	resp := &ex.Response
	now := ex.Mark(exchange.ServeDone)
	defer func() {
		ex.Sent.ReceivedBytes = c.body.read
		c.at = ex.Mark(exchange.Done)
	}()
	switch {
	case resp.Status == 0:
		ex.Sent.Err = errUnanswered
		return false
	case resp.Status == 101 && resp.Tunnel != nil:
		ex.Sent.Err = c.tunnel(ex, now)
		return false
	case resp.Status < 200 || resp.Status > 599:
		ex.Answer(500, "", nil)
		ex.Sent.Err = errStatus
	}
	how := c.framing(ex)
	keep := c.keeps(ex) && how != closed
	block := c.responseBlock(resp)
	defer c.srv.blocks.Give(block)
	w := c.appendHead(block.B[:0], ex, how, keep)
	ex.Sent.HeadBytes = int64(len(w))
	if resp.Stream != nil {
		if !c.stream(ex, w, how, now) {
			keep = false
		}
		err := resp.Stream.Close()
		resp.Stream = nil
		if err != nil {
			keep = false
		}
		return keep && !c.broken.Load()
	}
	if how == noBody {
		return c.deliver(ex, w, nil, now) && keep
	}
	return c.deliver(ex, w, resp.Body, now) && keep
}

// responseBlock takes a block that holds head and body where they can.
func (c *conn) responseBlock(resp *exchange.Response) *wire.Block {
	if resp.Stream == nil && len(resp.Body) > wire.SmallBlock-2048 {
		return c.srv.blocks.Large()
	}
	return c.srv.blocks.Small()
}

// deliver writes head and body, in one write when the body fits behind the head.
func (c *conn) deliver(ex *exchange.Exchange, w, body []byte, now int64) bool {
	together := len(body) <= cap(w)-len(w)
	if together {
		w = append(w, body...)
	}
	err := c.write(w, now)
	if err == nil && !together {
		err = c.write(body, now)
	}
	if err != nil {
		ex.Sent.Err, ex.Sent.ClientGone = err, true
		return false
	}
	ex.Sent.BodyBytes += int64(len(body))
	return true
}

func (c *conn) framing(ex *exchange.Exchange) framing {
	resp := &ex.Response
	switch {
	case wire.Bodiless(ex.Request.Method, resp.Status):
		return noBody
	case resp.Stream == nil || resp.ContentLength >= 0:
		return counted
	case ex.Request.AtLeast(1, 1):
		return chunked
	}
	return closed
}

// keeps says whether the connection may go on after this response, the body's framing aside.
func (c *conn) keeps(ex *exchange.Exchange) bool {
	o := &c.srv.options
	settled := c.body.settle() // always: it also ends the wait for "100 Continue"
	return settled && !ex.Response.Close && !c.head.Close && (ex.Request.AtLeast(1, 1) || c.head.KeepAlive) &&
		!c.srv.draining.Load() && (o.MaxRequests == 0 || c.requests < o.MaxRequests)
}

// appendHead writes the head. Framing and connection fields come from here alone.
func (c *conn) appendHead(w []byte, ex *exchange.Exchange, how framing, keep bool) []byte {
	resp := &ex.Response
	w = wire.AppendStatusLine(w, resp.Status)
	dated := false
	for i := range resp.Header.Len() {
		f := resp.Header.At(i)
		if wire.HopByHop(f.Name) {
			continue
		}
		dated = dated || len(f.Name) == 4 && exchange.EqualFold(f.Name, "Date")
		w = wire.AppendField(w, f.Name, f.Value)
	}
	if !dated {
		w = append(w, c.srv.date.at(ex.Start)...)
	}
	switch how {
	case counted:
		n := int64(len(resp.Body))
		if resp.Stream != nil {
			n = resp.ContentLength
		}
		w = appendLength(w, n)
	case chunked:
		w = append(w, "Transfer-Encoding: chunked\r\n"...)
	case noBody:
		n := resp.ContentLength
		if ex.Request.Method == "HEAD" && n >= 0 && resp.Status != 204 || resp.Status == 304 && n > 0 {
			w = appendLength(w, n)
		}
	}
	if resp.Upgrade != "" && exchange.ValidValue(resp.Upgrade) {
		w = wire.AppendField(w, "Upgrade", resp.Upgrade)
		w = append(w, "Connection: Upgrade\r\n"...)
	}
	switch {
	case !keep:
		w = append(w, "Connection: close\r\n"...)
	case ex.Request.Minor == 0, c.srv.options.SayKeepAlive && resp.Upgrade == "":
		w = append(w, "Connection: keep-alive\r\n"...)
	}
	return append(w, '\r', '\n')
}

func appendLength(w []byte, n int64) []byte {
	w = append(w, "Content-Length: "...)
	w = strconv.AppendInt(w, n, 10)
	return append(w, '\r', '\n')
}
