package http2server

import "github.com/keepgate/keepgate/dataplane/http1/wire"

// pipe holds what has come of a body and was not read.
type pipe struct {
	blocks []*wire.Block
	r, w   int // in the first block, in the last
	n      int // bytes
}

func (p *pipe) write(data []byte, pool *wire.Blocks) {
	p.n += len(data)
	for len(data) > 0 {
		last := len(p.blocks) - 1
		if last < 0 || p.w == len(p.blocks[last].B) {
			block := pool.Small()
			if last >= 0 || len(data) > len(block.B) {
				pool.Give(block)
				block = pool.Large()
			}
			p.blocks = append(p.blocks, block)
			last, p.w = last+1, 0
		}
		n := copy(p.blocks[last].B[p.w:], data)
		p.w += n
		data = data[n:]
	}
}

func (p *pipe) read(b []byte, pool *wire.Blocks) (n int) {
	for n < len(b) && p.n > 0 {
		first := p.blocks[0].B[p.r:]
		if len(p.blocks) == 1 {
			first = first[:p.w-p.r]
		}
		got := copy(b[n:], first)
		n, p.n, p.r = n+got, p.n-got, p.r+got
		if got == len(first) {
			pool.Give(p.blocks[0])
			last := copy(p.blocks, p.blocks[1:])
			p.blocks[last] = nil
			p.blocks, p.r = p.blocks[:last], 0
		}
	}
	return n
}

// drop forgets what was not read, and says how much that was.
func (p *pipe) drop(pool *wire.Blocks) int {
	for i, block := range p.blocks {
		pool.Give(block)
		p.blocks[i] = nil
	}
	n := p.n
	p.blocks, p.r, p.w, p.n = p.blocks[:0], 0, 0, 0
	return n
}
