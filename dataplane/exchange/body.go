package exchange

import (
	"bytes"
	"errors"
	"io"
)

// What reading a request's body can come to. [StatusOf] tells the status to answer.
var (
	ErrBodyTooLarge  = errors.New("request body too large")
	ErrBodyMalformed = errors.New("malformed request body")
	ErrBodyTimeout   = errors.New("timeout reading the request body")
	ErrBodyCut       = errors.New("the client left before the end of the request body")
	ErrBodyRoom      = errors.New("no memory left for request bodies")
)

// StatusOf is the status to answer when reading the body ended in err, 0 when err is no error of a body.
func StatusOf(err error) int {
	switch {
	case errors.Is(err, ErrBodyTooLarge):
		return 413
	case errors.Is(err, ErrBodyMalformed), errors.Is(err, ErrBodyCut):
		return 400
	case errors.Is(err, ErrBodyTimeout):
		return 408
	case errors.Is(err, ErrBodyRoom):
		return 503
	}
	return 0
}

// NoBody is the empty body.
var NoBody io.Reader = noBody{}

type noBody struct{}

func (noBody) Read([]byte) (int, error) { return 0, io.EOF }

// bodyKeep is how much of a body an exchange holds without asking anybody, and keeps the memory of.
const bodyKeep = 64 << 10

// Lender bounds the memory that bodies are held in, beyond what every exchange may hold. Who sets one takes back what was lent: see
// [Exchange.Repay].
type Lender interface{ Lend(bytes int64) bool }

// Repay returns how many bytes were lent to the exchange since it was last called. The body is not to be looked at any more.
func (ex *Exchange) Repay() int64 {
	lent := ex.buffer.lent
	ex.buffer.lent = 0
	return lent
}

// bodyBuffer holds a body that a plugin asked to see, or made.
type bodyBuffer struct {
	data   []byte // what was read; kept from one exchange to the next
	body   []byte // what the request's body is now: data, or what SetBody was given
	filled bool
	replay bytes.Reader
	lent   int64 // of the Lender's memory
}

func (b *bodyBuffer) reset() {
	if cap(b.data) > bodyKeep {
		b.data = nil
	}
	if poison {
		clear(b.data)
	}
	b.data, b.body, b.filled, b.lent = b.data[:0], nil, false, 0
	b.replay.Reset(nil)
}

// BufferBody reads the whole request body, at most limit bytes, and returns it. Request.Body then reads
// the same bytes again, and ContentLength is their number. Beyond limit it fails with ErrBodyTooLarge, without memory with
// ErrBodyRoom, and the body is spent. Calling it again returns the same bytes, or what SetBody made of them since.
func (ex *Exchange) BufferBody(limit int64) ([]byte, error) {
	b, r := &ex.buffer, &ex.Request
	if b.filled {
		return b.body, nil
	}
	if r.ContentLength == 0 {
		return nil, nil
	}
	if r.ContentLength > limit {
		return nil, ErrBodyTooLarge
	}
	for {
		if !b.room(ex.Lender, r.ContentLength, limit) {
			return nil, ErrBodyRoom
		}
		n, err := r.Body.Read(b.data[len(b.data):cap(b.data)])
		b.data = b.data[:len(b.data)+n]
		if int64(len(b.data)) > limit {
			return nil, ErrBodyTooLarge
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	ex.SetBody(b.data)
	return b.data, nil
}

// room makes room for the next read of a body. It begins small and doubles: a client that announces much pays for the memory with
// bytes. length is the body's, -1 when it is not known. One byte more than the body lets the read that tells the end find room. It
// says false when the lender has no more.
func (b *bodyBuffer) room(lender Lender, length, limit int64) bool {
	const first = 16 << 10
	if len(b.data) < cap(b.data) {
		return true
	}
	want := min(max(2*int64(cap(b.data)), first), limit)
	if length >= 0 {
		want = min(want, length)
	}
	if cap(b.data) < bodyKeep {
		want = min(want, bodyKeep) // before more is borrowed
	}
	want = max(want, int64(len(b.data))) + 1
	if more := want - b.lent; want > bodyKeep+1 && lender != nil {
		if !lender.Lend(more) {
			return false
		}
		b.lent += more
	}
	b.data = append(make([]byte, 0, want), b.data...)
	return true
}

// SetBody makes body the request's body, for whoever reads it and for BufferBody. It is not copied.
func (ex *Exchange) SetBody(body []byte) {
	ex.buffer.body, ex.buffer.filled = body, true
	ex.buffer.replay.Reset(body)
	ex.Request.Body, ex.Request.ContentLength = &ex.buffer.replay, int64(len(body))
}

// Rewind makes a buffered body readable from its beginning again, for a second try. It returns
// false when the body was not buffered and has bytes.
func (ex *Exchange) Rewind() bool {
	if ex.Request.ContentLength == 0 {
		return true
	}
	if ex.Request.Body != io.Reader(&ex.buffer.replay) {
		return false
	}
	_, err := ex.buffer.replay.Seek(0, io.SeekStart)
	return err == nil
}
