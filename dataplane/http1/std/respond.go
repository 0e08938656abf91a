package std

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

var (
	errUnanswered = errors.New("the handler gave no response")
	errLength     = errors.New("the body has not the length it was announced with")
	errStatus     = errors.New("the handler gave an impossible status")
)

// respond writes the response. It returns false when the response must not look complete.
func (c *call) respond() bool {
	ex := c.ex
	resp := &ex.Response
	ex.Mark(exchange.ServeDone)
	defer func() {
		c.watch.writeBy.Store(0)
		if resp.Stream != nil {
			_ = resp.Stream.Close()
			resp.Stream = nil
		}
	}()
	switch {
	case resp.Status == 0:
		ex.Sent.Err = errUnanswered
		return false
	case resp.Status == 101 && resp.Tunnel != nil:
		ex.Sent.Err = c.tunnel()
		return true
	case resp.Status < 200 || resp.Status > 599:
		ex.Answer(500, "", nil)
		ex.Sent.Err = errStatus
	}
	resp.Close = resp.Close || !c.body.settled()
	c.server.head(ex, c.w, c.r)
	c.writing()
	c.w.WriteHeader(resp.Status)
	switch {
	case wire.Bodiless(c.r.Method, resp.Status):
		return true
	case resp.Stream == nil:
		n, err := c.w.Write(resp.Body)
		ex.Sent.BodyBytes = int64(n)
		return sent(ex, err)
	}
	return c.stream()
}

// writing gives the client another while to take something.
func (c *call) writing() {
	c.watch.writeBy.Store(exchange.Now() + int64(c.server.options.WriteTimeout))
}

func sent(ex *exchange.Exchange, err error) bool {
	if err != nil {
		ex.Sent.Err, ex.Sent.ClientGone = err, true
	}
	return err == nil
}

// stream copies the body, every read at once.
func (c *call) stream() bool {
	ex := c.ex
	resp := &ex.Response
	if a, ok := resp.Stream.(exchange.Aborter); ok && ex.Client != nil {
		ex.Client.Watch(a)
		defer ex.Client.Unwatch()
	}
	// A gRPC call that ends without a message says so in its header, which must then end the stream.
	if !resp.Header.Has("grpc-status") && !sent(ex, c.w.FlushError()) {
		return false
	}
	block := c.server.blocks.Large()
	defer c.server.blocks.Give(block)
	for {
		n, err := resp.Stream.Read(block.B)
		if n > 0 {
			c.writing()
			wrote, writeErr := c.w.Write(block.B[:n])
			ex.Sent.BodyBytes += int64(wrote)
			if writeErr == nil {
				writeErr = c.w.FlushError()
			}
			if !sent(ex, writeErr) {
				return false
			}
			c.watch.writeBy.Store(0)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			ex.Sent.Err = err
			return false
		}
	}
	if resp.ContentLength >= 0 && ex.Sent.BodyBytes != resp.ContentLength {
		ex.Sent.Err = errLength
		return false
	}
	for name, value := range resp.Trailer.All() {
		if !wire.HopByHop(name) {
			c.w.Header().Add(http.TrailerPrefix+name, strings.Clone(value))
		}
	}
	return true
}

// tunnel takes an HTTP/1.1 connection over from the standard server.
func (c *call) tunnel() (err error) {
	ex, all := c.ex, &c.server.tunnels
	all.begin()
	conn, buffered, err := http.NewResponseController(c.w).Hijack()
	defer func() { all.end(conn) }()
	if err != nil {
		return err
	}
	all.add(conn)
	defer conn.Close()
	out := wire.AppendField(wire.AppendStatusLine(nil, 101), "Upgrade", ex.Response.Upgrade)
	out = append(out, "Connection: Upgrade\r\n"...)
	for name, value := range ex.Response.Header.All() {
		if !wire.HopByHop(name) {
			out = wire.AppendField(out, name, value)
		}
	}
	if _, err := conn.Write(append(out, '\r', '\n')); err != nil {
		return err
	}
	early := make([]byte, buffered.Reader.Buffered())
	if _, err := io.ReadFull(buffered, early); err != nil {
		return err
	}
	_ = conn.SetDeadline(time.Time{})
	return ex.Response.Tunnel.Run(conn, early)
}
