package wire

import (
	"errors"
	"io"
	"sync"
)

// Sizes of the pooled blocks.
const (
	SmallBlock = 8 << 10  // a head, or a head with a small body
	LargeBlock = 64 << 10 // a large head, or a stretch of a streamed body
)

// Blocks pools buffers in two sizes. The zero value is ready.
type Blocks struct{ small, large sync.Pool }

// Small returns a block of SmallBlock bytes.
func (p *Blocks) Small() *Block {
	if b, ok := p.small.Get().(*Block); ok {
		return b
	}
	return &Block{B: make([]byte, SmallBlock)}
}

// Large returns a block of LargeBlock bytes.
func (p *Blocks) Large() *Block {
	if b, ok := p.large.Get().(*Block); ok {
		return b
	}
	return &Block{B: make([]byte, LargeBlock)}
}

// Give takes a block back. Nil is fine.
func (p *Blocks) Give(b *Block) {
	switch {
	case b == nil:
	case len(b.B) == SmallBlock:
		p.small.Put(b)
	default:
		p.large.Put(b)
	}
}

// Block is one pooled buffer.
type Block struct{ B []byte }

// ErrFull means that an Input's block has no room left.
var ErrFull = errors.New("buffer full")

// Input is buffered reading over a block that comes and goes: an idle connection holds none.
type Input struct {
	Src    io.Reader
	Blocks *Blocks
	block  *Block
	r, w   int
}

// Buffered returns what was read and not consumed. It is valid until the next call.
func (in *Input) Buffered() []byte {
	if in.block == nil {
		return nil
	}
	return in.block.B[in.r:in.w]
}

// Len is the number of buffered bytes.
func (in *Input) Len() int { return in.w - in.r }

// Discard consumes n buffered bytes.
func (in *Input) Discard(n int) {
	in.r += n
	if in.r == in.w {
		in.r, in.w = 0, 0
	}
}

// Free returns room to read into, taking a block or moving what is buffered as needed. It is empty when the block is full.
func (in *Input) Free() []byte {
	if in.block == nil {
		in.block = in.Blocks.Small()
	}
	if in.r > 0 && in.w == len(in.block.B) {
		in.w = copy(in.block.B, in.block.B[in.r:in.w])
		in.r = 0
	}
	return in.block.B[in.w:]
}

// Filled says that n bytes of Free are input now.
func (in *Input) Filled(n int) { in.w += n }

// Grow moves to a large block. It returns false when the block was large already.
func (in *Input) Grow() bool {
	if in.block != nil && len(in.block.B) > SmallBlock {
		return false
	}
	large := in.Blocks.Large()
	n := copy(large.B, in.Buffered())
	in.Blocks.Give(in.block)
	in.block, in.r, in.w = large, 0, n
	return true
}

// Release gives the block back when nothing is buffered.
func (in *Input) Release() {
	if in.block != nil && in.r == in.w {
		in.Blocks.Give(in.block)
		in.block, in.r, in.w = nil, 0, 0
	}
}

// Drop forgets what is buffered and gives the block back.
func (in *Input) Drop() {
	in.r, in.w = 0, 0
	in.Release()
}

// Fill reads once from the source.
func (in *Input) Fill() error {
	room := in.Free()
	if len(room) == 0 {
		return ErrFull
	}
	n, err := in.Src.Read(room)
	in.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// Read takes buffered bytes, else reads into p directly, past the block.
func (in *Input) Read(p []byte) (int, error) {
	if in.r < in.w {
		n := copy(p, in.block.B[in.r:in.w])
		in.Discard(n)
		return n, nil
	}
	return in.Src.Read(p)
}
