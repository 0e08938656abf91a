package wire

import (
	"bytes"
	"io"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

const (
	maxChunkLine    = 512     // size and extensions, RFC 9112 §7.1.1
	maxTrailerBytes = 8 << 10 // the trailer section
	maxTrailers     = 32
)

// Chunked decodes a chunked body, RFC 9112 §7.1.
type Chunked struct {
	in      *Input
	trailer *exchange.Header
	left    uint64 // of the current chunk
	started bool   // a chunk was read: its CRLF comes before the next size
	err     error  // sticky; io.EOF after the trailer section
}

// Reset begins a new body. Trailers go to trailer; their bytes are allocated and not taken from the exchange's
// arena, for the goroutine that reads a body may be another than the exchange's.
func (c *Chunked) Reset(in *Input, trailer *exchange.Header) {
	*c = Chunked{in: in, trailer: trailer}
}

// Read decodes as much as is at hand, and waits for the first byte only.
func (c *Chunked) Read(p []byte) (n int, err error) {
	for n < len(p) && c.err == nil {
		if c.left == 0 {
			if n > 0 && !c.ready() {
				return n, nil // do not hold back what has come
			}
			c.err = c.next()
			continue
		}
		if n > 0 && c.in.Len() == 0 {
			return n, nil
		}
		got, err := c.in.Read(p[n : n+int(min(uint64(len(p)-n), c.left))])
		n += got
		c.left -= uint64(got)
		if err != nil {
			c.err = cut(err)
		}
	}
	if n > 0 {
		return n, nil
	}
	return 0, c.err
}

// ready says whether the size of another chunk, not the last one, is at hand.
func (c *Chunked) ready() bool {
	b := c.in.Buffered()
	return len(b) > 4 && b[2] != '0' && bytes.IndexByte(b[2:], '\n') >= 0
}

// cut makes the end of input an unexpected one.
func cut(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// next reads the line before a chunk, after the last one the trailer section too.
func (c *Chunked) next() error {
	if c.started {
		line, err := c.line(0)
		if err != nil {
			return err
		}
		if len(line) != 0 {
			return BadChunk
		}
		c.in.Discard(2)
	}
	line, err := c.line(maxChunkLine)
	if err != nil {
		return err
	}
	size, err := chunkSize(line)
	if err != nil {
		return err
	}
	c.in.Discard(len(line) + 2)
	c.started = true
	if c.left = size; size == 0 {
		return c.trailers()
	}
	return nil
}

// line waits for a line of at most limit bytes and returns it without its CRLF, not consumed.
func (c *Chunked) line(limit int) ([]byte, error) {
	for {
		b := c.in.Buffered()
		i := bytes.IndexByte(b[:min(len(b), limit+2)], '\n')
		if i > 0 && b[i-1] == '\r' {
			return b[:i-1], nil
		}
		switch {
		case i >= 0:
			return nil, BadChunk
		case len(b) >= limit+2 && limit > 0:
			return nil, ChunkLineTooLong
		case len(b) >= limit+2:
			return nil, BadChunk
		}
		if err := c.in.Fill(); err != nil {
			return nil, cut(err)
		}
	}
}

// chunkSize parses 1 to 16 hexadecimal digits and checks the bytes of what extensions follow.
func chunkSize(line []byte) (uint64, error) {
	size, i := uint64(0), 0
	for ; i < len(line); i++ {
		d, ok := hexDigit(line[i])
		if !ok {
			break
		}
		size = size<<4 | uint64(d)
	}
	if i == 0 || i > 16 || size > 1<<62 {
		return 0, BadChunk
	}
	if extension := line[i:]; len(extension) > 0 && (extension[0] != ';' || !cleanValue(extension)) {
		return 0, BadChunk
	}
	return size, nil
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// trailers reads the trailer section and its final empty line.
func (c *Chunked) trailers() error {
	count := 0
	for total := 0; ; {
		line, err := c.line(maxTrailerBytes - total)
		if err != nil {
			if fault, ok := err.(Fault); ok && fault != BadTrailer {
				return BadTrailer
			}
			return err
		}
		n := len(line) + 2
		if n == 2 {
			c.in.Discard(n)
			return io.EOF
		}
		if total += n; total >= maxTrailerBytes-2 {
			return BadTrailer
		}
		if count++; count > maxTrailers {
			return BadTrailer
		}
		name, value, err := cutField(bytes.Clone(line))
		if err != nil {
			return BadTrailer
		}
		if !ForbiddenTrailer(name) {
			c.trailer.AddParsed(name, value)
		}
		c.in.Discard(n)
	}
}
