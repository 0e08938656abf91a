package exchange

const (
	arenaChunk = 4 << 10  // first chunk: two heads and a small body
	arenaKeep  = 64 << 10 // a larger chunk is not kept for the next exchange
)

// arena hands out bytes that live until reset. It grows by taking a new chunk and leaving the old one
// to those who hold views of it, so views stay valid.
type arena struct{ chunk []byte }

func (a *arena) alloc(n int) []byte {
	if cap(a.chunk)-len(a.chunk) < n {
		a.chunk = make([]byte, 0, max(arenaChunk, n, min(2*cap(a.chunk), arenaKeep)))
	}
	start := len(a.chunk)
	a.chunk = a.chunk[:start+n]
	return a.chunk[start : start+n : start+n]
}

func (a *arena) copy(b []byte) string {
	to := a.alloc(len(b))
	copy(to, b)
	return View(to)
}

func (a *arena) reset() {
	if poison {
		used := a.chunk
		for i := range used {
			used[i] = 0xDB
		}
	}
	if cap(a.chunk) > arenaKeep {
		a.chunk = nil
	}
	a.chunk = a.chunk[:0]
}
