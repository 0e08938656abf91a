package http2server

import (
	"encoding/binary"
	"slices"
)

// settings takes the client's, RFC 9113 §6.5.
func (c *conn) settings(f frame, payload []byte) error {
	switch {
	case f.stream != 0:
		return codeProtocol
	case f.has(flagAck):
		if len(payload) != 0 {
			return codeFrameSize
		}
		if c.tired() {
			return codeCalm
		}
		return nil
	case len(payload)%settingSize != 0:
		return codeFrameSize
	case len(payload) > maxSettingsBytes, c.greeted && c.tired():
		return codeCalm
	}
	c.greeted = true
	c.mu.Lock()
	defer c.mu.Unlock()
	for ; len(payload) > 0; payload = payload[settingSize:] {
		if err := c.setting(binary.BigEndian.Uint16(payload), be32(payload[2:])); err != nil {
			return err
		}
	}
	c.say(appendFrame(nil, 0, frameSettings, flagAck, 0))
	return nil
}

// setting takes one of them. mu is held.
func (c *conn) setting(id uint16, value uint32) error {
	switch id {
	case settingTable:
		c.forget = true // we use no table, and have to say so where it could be taken for larger than allowed
	case settingPush:
		if value > 1 {
			return codeProtocol
		}
	case settingFrame:
		if value < maxFrame || value > 1<<24-1 {
			return codeProtocol
		}
	case settingWindow:
		if value > maxWindow {
			return codeFlow
		}
		more := int64(value) - c.takes
		c.takes = int64(value)
		for _, s := range c.streams {
			if s.send += more; s.send > maxWindow {
				return codeFlow
			}
			s.change.Broadcast()
		}
	}
	return nil
}

// say leaves frames for whoever writes next. mu is held. It is the reading goroutine that calls it.
func (c *conn) say(frames []byte) {
	if c.err == nil {
		c.out = append(c.out, frames...)
		c.said = true
	}
}

// ping answers, RFC 9113 §6.7.
func (c *conn) ping(f frame, payload []byte) error {
	switch {
	case f.stream != 0:
		return codeProtocol
	case len(payload) != 8:
		return codeFrameSize
	case c.tired():
		return codeCalm
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !f.has(flagAck) {
		var w [frameHead + 8]byte
		c.say(appendPing(w[:0], flagAck, payload))
	} else if c.bye == leaving && string(payload) == leavePing {
		c.part()
	}
	return nil
}

// resetBy takes the client's end of a stream, RFC 9113 §6.4.
func (c *conn) resetBy(f frame, payload []byte) error {
	if f.stream == 0 {
		return codeProtocol
	}
	if len(payload) != 4 {
		return codeFrameSize
	}
	c.mu.Lock()
	if c.neverWas(f.stream) {
		c.mu.Unlock()
		return codeProtocol
	}
	s := c.find(f.stream)
	if s != nil {
		s.left = true
		s.cut(errCut)
	}
	c.mu.Unlock()
	c.abortGone()
	if c.tired() {
		return codeCalm
	}
	return nil
}

// window takes a client's word that it takes more, RFC 9113 §6.9.
func (c *conn) window(f frame, payload []byte) error {
	if len(payload) != 4 {
		return codeFrameSize
	}
	n := int64(be32(payload) & maxWindow)
	if n < smallWindow && c.tired() {
		return codeCalm
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.stream == 0 {
		return c.widen(n)
	}
	if c.neverWas(f.stream) {
		return codeProtocol
	}
	s := c.find(f.stream)
	if s == nil {
		return nil
	}
	switch {
	case n == 0:
		c.kill(s, codeProtocol)
	case s.send+n > maxWindow:
		c.kill(s, codeFlow)
	default:
		s.send += n
		s.change.Broadcast()
	}
	return nil
}

// widen notes that the client takes so much more of all streams. mu is held.
func (c *conn) widen(n int64) error {
	if n == 0 {
		return codeProtocol
	}
	before := c.send
	if c.send += n; c.send > maxWindow {
		return codeFlow
	}
	if before > 0 { // who waits does so for a window of its own
		return nil
	}
	for _, s := range c.streams {
		if s.send > 0 {
			s.change.Broadcast()
		}
	}
	return nil
}

// priority is not gone by, RFC 9113 §5.3.2.
func (c *conn) priority(f frame, payload []byte) error {
	switch {
	case f.stream == 0:
		return codeProtocol
	case len(payload) != 5:
		return codeFrameSize
	case c.tired():
		return codeCalm
	}
	return nil
}

// neverWas says whether the client cannot speak of a stream of that number. Those that it began too late are not served, but it may
// speak of them before it hears so, RFC 9113 §6.8. mu is held.
func (c *conn) neverWas(id uint32) bool { return id&1 == 0 || id > c.last && c.bye < parting }

// find returns the stream of that number when it has a handler. mu is held.
func (c *conn) find(id uint32) *stream {
	for _, s := range c.streams {
		if s.id == id {
			return s
		}
	}
	return nil
}

// living is find without the streams that the client has closed, by a reset or by its end after which ours was said: it has no more
// to say of those, RFC 9113 §5.1, whether or not their handlers have left yet. mu is held.
func (c *conn) living(id uint32) *stream {
	s := c.find(id)
	if s != nil && (s.left || s.ended && s.recvDone) {
		return nil
	}
	return s
}

// kill resets a stream. mu is held; it is the reading goroutine that calls it.
func (c *conn) kill(s *stream, why code) {
	if s.reset {
		return
	}
	var w [frameHead + 4]byte
	c.say(appendReset(w[:0], s.id, why))
	c.noteReset(s.id)
	s.cut(errMalformed)
	c.killed = true
}

// noteReset remembers that we reset a stream: the client may have sent more before it heard so. mu is held.
func (c *conn) noteReset(id uint32) {
	c.resets[c.resetAt] = id
	c.resetAt = (c.resetAt + 1) % len(c.resets)
}

func (c *conn) wasReset(id uint32) bool { return slices.Contains(c.resets[:], id) }
