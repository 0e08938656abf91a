package http2server

// begin takes the head of a frame of data.
func (c *conn) begin(f frame) error {
	if f.stream == 0 {
		return codeProtocol
	}
	c.mu.Lock()
	switch {
	case c.neverWas(f.stream):
		c.mu.Unlock()
		return codeProtocol
	case int64(f.length) > c.recv:
		c.mu.Unlock()
		return codeFlow
	}
	c.recv -= int64(f.length)
	s := c.living(f.stream)
	known := s != nil || c.wasReset(f.stream)
	switch {
	case s != nil:
		s.arrives(f.length)
	case !known && f.stream <= c.last:
		c.say(appendReset(nil, f.stream, codeClosed))
	}
	c.mu.Unlock()
	c.data, c.padding = f, -1
	if !f.has(flagPadded) {
		c.padding = 0
	} else if f.length == 0 {
		return codeFrameSize
	}
	if (!known || f.length == 0 && !f.has(flagEndStream)) && c.tired() {
		return codeCalm
	}
	if f.length == 0 {
		return c.take()
	}
	if f.length > 2<<10 && f.length > c.in.Len() {
		c.grown = c.in.Grow() || c.grown
	}
	return nil
}

// take takes what is at hand of a frame of data.
func (c *conn) take() error {
	b := c.in.Buffered()
	b = b[:min(len(b), c.data.length)]
	framing := 0 // bytes that are no data: they count all the same
	if c.padding < 0 {
		if c.padding = int(b[0]); c.padding >= c.data.length {
			return codeProtocol
		}
		framing = 1
	}
	n := min(len(b)-framing, c.data.length-framing-c.padding)
	data := b[framing : framing+n]
	c.data.length -= framing + n
	if c.data.length == c.padding { // what is left is padding
		skip := min(len(b)-framing-n, c.padding)
		framing += skip
		c.data.length -= skip
		c.padding -= skip
	}
	c.mu.Lock()
	back := framing
	if s := c.find(c.data.stream); s == nil || !s.put(data, framing) {
		back += len(data)
	}
	if back > 0 && c.refund(back) {
		c.said = true
	}
	if c.data.length == 0 && c.data.has(flagEndStream) {
		if s := c.find(c.data.stream); s != nil {
			s.end()
		}
	}
	c.mu.Unlock()
	c.in.Discard(framing + len(data))
	return nil
}

// refund gives the client back what it may send, and says whether somebody has to write that. mu is held.
func (c *conn) refund(n int) bool {
	if c.credit += int64(n); c.credit < connWindow/4 || c.err != nil {
		return false
	}
	c.out = appendWindow(c.out, 0, c.credit)
	c.recv += c.credit
	c.credit = 0
	return true
}
