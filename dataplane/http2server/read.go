package http2server

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// read reads until the connection ends, and returns why; a code when the client should hear it. What it returns with errRests
// goes on with the next read.
func (c *conn) read() error {
	if !c.opened {
		if err := c.greet(); err != nil {
			return err
		}
		c.opened = true
	}
	for {
		if err := c.frame(); err != nil {
			return err
		}
		if c.killed {
			c.killed = false
			c.abortGone()
			if c.tired() { // making us reset costs as much as resetting: CVE-2025-8671
				return codeCalm
			}
		}
	}
}

// greet reads the client's preface.
func (c *conn) greet() error {
	for c.in.Len() < len(preface) {
		if n := c.in.Len(); string(c.in.Buffered()) != preface[:n] {
			return codeProtocol
		}
		if err := c.more(true); err != nil {
			return err
		}
	}
	if string(c.in.Buffered()[:len(preface)]) != preface {
		return codeProtocol
	}
	c.in.Discard(len(preface))
	return nil
}

// frame reads one frame, or what is at hand of one with data.
func (c *conn) frame() error {
	if c.data.length > 0 {
		if c.in.Len() == 0 {
			if err := c.more(false); err != nil {
				return err
			}
		}
		return c.take()
	}
	if c.grown && c.in.Len() == 0 {
		c.grown = false
		c.in.Release()
	}
	for c.in.Len() < frameHead {
		if err := c.more(c.in.Len() > 0 || c.block != nil || !c.greeted); err != nil {
			return err
		}
	}
	f := parseFrame(c.in.Buffered())
	switch {
	case f.length > maxFrame:
		return codeFrameSize
	case !c.greeted && (f.kind != frameSettings || f.has(flagAck)):
		return codeProtocol
	case (f.kind == frameContinuation) != (c.block != nil), c.block != nil && f.stream != c.opening.stream:
		return codeProtocol
	case f.kind == frameData:
		c.in.Discard(frameHead)
		c.settled()
		return c.begin(f)
	}
	whole := frameHead + f.length
	for c.in.Len() < whole {
		if len(c.in.Free()) == 0 {
			c.grown = c.in.Grow()
		}
		if err := c.more(true); err != nil {
			return err
		}
	}
	err := c.handle(f, c.in.Buffered()[frameHead:whole])
	c.in.Discard(whole)
	if c.block == nil {
		c.settled()
	}
	return err
}

// settled notes that nothing of a frame or list is waited for.
func (c *conn) settled() {
	if c.partial.Load() != 0 {
		c.partial.Store(0)
	}
}

// more waits for bytes. rest says that they are the rest of something.
func (c *conn) more(rest bool) error {
	if c.said {
		c.said = false
		c.mu.Lock()
		c.flushSoon()
		c.mu.Unlock()
	}
	if rest && c.partial.Load() == 0 {
		c.partial.Store(c.heard.Load())
	}
	for {
		n, err := c.nc.Read(c.in.Free())
		if n > 0 {
			c.in.Filled(n)
			c.heard.Store(exchange.Now())
			return nil
		}
		switch {
		case err == nil:
			return io.ErrNoProgress
		case !isTimeout(err):
			return c.ended(err)
		}
		if err := c.woken(); err != nil {
			return err
		}
	}
}

// ended is why reading ended.
func (c *conn) ended(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	return err
}

// woken looks why reading was interrupted: the connection ends, or it was silent for so long that it should wait where that costs
// less.
func (c *conn) woken() error {
	_ = c.nc.SetReadDeadline(time.Time{})
	c.mu.Lock()
	err, rest := c.err, c.sentRest
	c.sentRest = false
	if len(c.streams) == 0 {
		c.spare, c.streams = nil, nil
	}
	c.mu.Unlock()
	if err != nil || !rest || c.in.Len() > 0 || c.block != nil || !c.rest() {
		c.stay()
		return err
	}
	return errRests
}

// stay lets the connection be sent to rest again, when it was silent for as long once more.
func (c *conn) stay() {
	c.heard.Store(exchange.Now())
	c.mu.Lock()
	c.resting = false
	c.mu.Unlock()
}

func isTimeout(err error) bool {
	if err == os.ErrDeadlineExceeded {
		return true
	}
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout()
}

// handle takes a whole frame other than one of data.
func (c *conn) handle(f frame, payload []byte) error {
	switch f.kind {
	case frameHeaders:
		return c.headers(f, payload)
	case frameContinuation:
		return c.continued(f, payload)
	case frameSettings:
		return c.settings(f, payload)
	case framePing:
		return c.ping(f, payload)
	case frameReset:
		return c.resetBy(f, payload)
	case frameWindow:
		return c.window(f, payload)
	case framePriority:
		return c.priority(f, payload)
	case frameGoAway:
		if f.stream != 0 {
			return codeProtocol
		}
		if len(payload) < 8 {
			return codeFrameSize
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.part() // it opens no more streams
		return nil
	case framePush:
		return codeProtocol
	}
	if c.tired() { // extensions that we do not know are ignored, RFC 9113 §5.5
		return codeCalm
	}
	return nil
}

func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }
