package proxycache

import (
	"io"
	"slices"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// recorder keeps what is read of a response's body until it is whole.
type recorder struct {
	i        *instance
	ex       *exchange.Exchange
	p        *passing
	inner    io.ReadCloser
	names    []string // of the headers that the response differs by
	head     int      // bytes of value before the body
	value    []byte
	taken    int64  // of the memory for recording
	expected int64  // bytes of the body; -1: not known
	inline   []byte // the body, when it was here from the beginning
	whole    bool
	ready    bool // the response phase is over: nobody changes the body any more
	done     bool
}

// begin takes memory for the head and what is expected to follow.
func (r *recorder) begin(head []byte) bool {
	r.head = len(head)
	if r.value = head; !r.take(int64(cap(head))) {
		r.release()
		return false
	}
	return true
}

func (r *recorder) take(n int64) bool {
	if r.i.shared.recording.Add(n) > recordRoom {
		r.i.shared.recording.Add(-n)
		return false
	}
	r.taken += n
	return true
}

// release gives the memory back, and forgets what was recorded.
func (r *recorder) release() {
	if r.i == nil {
		return
	}
	r.i.shared.recording.Add(-r.taken)
	r.taken, r.value, r.done = 0, nil, true
}

// add records a part of the body; false when it is too much.
func (r *recorder) add(part []byte) bool {
	if r.done {
		return false
	}
	need := len(r.value) + len(part)
	if int64(need-r.head) > r.i.shared.maxEntry {
		r.release()
		return false
	}
	if need > cap(r.value) {
		more := max(need, min(2*cap(r.value), need+1<<20))
		if !r.take(int64(more - cap(r.value))) {
			r.release()
			return false
		}
		r.value = append(make([]byte, 0, more), r.value...)
	}
	r.value = append(r.value, part...)
	return true
}

// replace records another body.
func (r *recorder) replace(body []byte) bool {
	if r.done {
		return false
	}
	r.value = r.value[:r.head]
	return r.add(body)
}

// stream is what the response's stream is when nobody has put another before it.
func (r *recorder) stream() io.ReadCloser {
	if r.inline != nil {
		return r.inner
	}
	return r
}

// Read implements io.Reader.
func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.inner.Read(p)
	if n > 0 && !r.done {
		r.add(p[:n])
	}
	switch {
	case err == io.EOF, err == nil && r.expected >= 0 && int64(len(r.value)-r.head) == r.expected:
		if !r.done {
			r.whole = r.expected < 0 || int64(len(r.value)-r.head) == r.expected
		}
		if r.ready {
			r.finish()
		}
	case err != nil:
		r.release()
	}
	return n, err
}

// finish keeps the response, once it is whole. One with trailers is passed on and not kept.
func (r *recorder) finish() {
	if !r.whole || r.done {
		return
	}
	if r.ex.Response.Trailer.Len() == 0 {
		value := r.value
		if cap(value) > len(value)+len(value)/8 {
			value = slices.Clone(value)
		}
		r.i.keep(r.ex, r.p, value, r.names)
	}
	r.release()
}

// Close implements io.Closer.
func (r *recorder) Close() error { return r.inner.Close() }

// Buffered is how many bytes can be read without waiting.
func (r *recorder) Buffered() int {
	if inner, ok := r.inner.(interface{ Buffered() int }); ok {
		return inner.Buffered()
	}
	return 0
}

// Abort implements [exchange.Aborter].
func (r *recorder) Abort() {
	if inner, ok := r.inner.(exchange.Aborter); ok {
		inner.Abort()
	}
}
