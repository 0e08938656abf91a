package exchange

import "io"

// held is a body of which the beginning was read already.
type held struct {
	early []byte
	src   io.Reader
}

// Read implements io.Reader.
func (h *held) Read(p []byte) (int, error) {
	if len(h.early) > 0 {
		n := copy(p, h.early)
		h.early = h.early[n:]
		return n, nil
	}
	return h.src.Read(p)
}

// Buffered is how many bytes can be read without waiting.
func (h *held) Buffered() int64 { return int64(len(h.early)) }

// Interrupt makes reading fail, as far as the body underneath can.
func (h *held) Interrupt() {
	if body, ok := h.src.(interface{ Interrupt() }); ok {
		body.Interrupt()
	}
}

// Hold reads the request's body until it ends, limit bytes are there, or there is no memory for more. When it ended it is as after BufferBody; otherwise Body
// begins with what was read and goes on as it comes, and Hold may be called again with a higher limit.
func (ex *Exchange) Hold(limit int64) (whole bool, err error) {
	b, r := &ex.buffer, &ex.Request
	if b.filled || r.ContentLength == 0 {
		return true, nil
	}
	src := r.Body
	if before, again := src.(*held); again {
		src = before.src
	}
	for int64(len(b.data)) < limit && b.room(ex.Lender, r.ContentLength, limit) {
		n, err := src.Read(b.data[len(b.data):cap(b.data)])
		b.data = b.data[:len(b.data)+n]
		if err == io.EOF {
			if ex.SetBody(b.data); r.Trailer.Len() > 0 {
				r.ContentLength = -1 // only then there is a place for them
			}
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
	r.Body = &held{b.data, src}
	return false, nil
}
