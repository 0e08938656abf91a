// Package hpack reads and writes lists of header fields as HTTP/2 compresses them, RFC 7541.
//
// Reading keeps a dynamic table in one small piece of memory, which a connection that indexes nothing never has, and allocates nothing
// for a list: fields are handed out as views. Writing keeps no table: names are indexed where the static table has them, values are
// literals. What fields mean, and which are forbidden, is the server's to know.
package hpack

import (
	"errors"

	"golang.org/x/net/http2/hpack"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// TableSize is how large a dynamic table may be, RFC 9113 §6.5.2: what clients assume before they are told otherwise.
const TableSize = 4096

// entryOverhead is what an entry counts beside its bytes, RFC 7541 §4.1.
const entryOverhead = 32

// What is wrong with a block. The state of the connection is lost then (RFC 9113 §4.3).
var (
	ErrIndex  = errors.New("hpack: index beyond the tables")
	ErrCut    = errors.New("hpack: the block ends within a field")
	ErrNumber = errors.New("hpack: number too large")
	ErrResize = errors.New("hpack: change of the table's size out of place or beyond its limit")
	ErrString = errors.New("hpack: malformed Huffman code")
)

// Decoder reads the blocks of one connection, in their order. The zero value is ready.
type Decoder struct {
	entries []entry // the oldest first
	data    []byte  // names and values of the entries, the oldest first
	size    int     // of the table, as the RFC counts
	lowered int     // by how much the limit is below TableSize
	text    [2]text // what Huffman codes stood for
}

type entry struct{ at, name, value uint16 }

// text collects what a Huffman code stands for; it implements io.Writer for x/net.
type text struct{ b []byte }

func (t *text) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	return len(p), nil
}

// Decode reads a whole block and calls emit for each field. Names and values are views that die when emit returns, but for
// names with fixed, which stay.
func (d *Decoder) Decode(block []byte, emit func(name, value string, fixed bool)) error {
	for first := true; len(block) > 0; {
		b := block[0]
		var err error
		switch {
		case b&0x80 != 0:
			var i uint64
			if i, block, err = number(block, 7); err != nil {
				return err
			}
			name, value, ok := d.at(i)
			if !ok {
				return ErrIndex
			}
			emit(name, value, i < uint64(len(staticNames)))
		case b&0xE0 == 0x20:
			if !first {
				return ErrResize
			}
			if block, err = d.resize(block); err != nil {
				return err
			}
			continue // several may come, before the first field
		case b&0xC0 == 0x40:
			block, err = d.literal(block, 6, true, emit)
		default: // without indexing, or never indexed: the same to us, who keep nothing
			block, err = d.literal(block, 4, false, emit)
		}
		if err != nil {
			return err
		}
		first = false
	}
	return nil
}

func (d *Decoder) literal(block []byte, bits uint8, index bool, emit func(name, value string, fixed bool)) ([]byte, error) {
	i, block, err := number(block, bits)
	if err != nil {
		return nil, err
	}
	name, fixed := "", i > 0 && i < uint64(len(staticNames))
	if i > 0 {
		var ok bool
		if name, _, ok = d.at(i); !ok {
			return nil, ErrIndex
		}
	} else if name, block, err = d.read(block, 0); err != nil {
		return nil, err
	}
	value, block, err := d.read(block, 1)
	if err != nil {
		return nil, err
	}
	emit(name, value, fixed)
	if index {
		d.add(name, value)
	}
	return block, nil
}

// read reads a string, RFC 7541 §5.2.
func (d *Decoder) read(block []byte, which int) (string, []byte, error) {
	if len(block) == 0 {
		return "", nil, ErrCut
	}
	huffman := block[0]&0x80 != 0
	n, block, err := number(block, 7)
	if err != nil {
		return "", nil, err
	}
	if n > uint64(len(block)) {
		return "", nil, ErrCut
	}
	if !huffman {
		return exchange.View(block[:n]), block[n:], nil
	}
	t := &d.text[which]
	t.b = t.b[:0]
	if _, err := hpack.HuffmanDecode(t, block[:n]); err != nil {
		return "", nil, ErrString
	}
	return exchange.View(t.b), block[n:], nil
}

// Rest gives back what memory is only used while a block is read.
func (d *Decoder) Rest() { d.text = [2]text{} }

// number reads an integer with a prefix of that many bits, RFC 7541 §5.1. There must be a byte. None that means something is beyond
// 2^28.
func number(b []byte, bits uint8) (uint64, []byte, error) {
	most := uint64(1)<<bits - 1
	n := uint64(b[0]) & most
	b = b[1:]
	if n < most {
		return n, b, nil
	}
	for shift := 0; ; shift += 7 {
		if len(b) == 0 {
			return 0, nil, ErrCut
		}
		if shift > 21 {
			return 0, nil, ErrNumber
		}
		c := b[0]
		b = b[1:]
		n += uint64(c&0x7F) << shift
		if c&0x80 == 0 {
			return n, b, nil
		}
	}
}

// at returns the field of an index: the static table, then the dynamic one from its newest.
func (d *Decoder) at(i uint64) (name, value string, ok bool) {
	if i < uint64(len(staticNames)) {
		return staticNames[i], staticValues[i], i > 0
	}
	if i -= uint64(len(staticNames)); i >= uint64(len(d.entries)) {
		return "", "", false
	}
	e := d.entries[len(d.entries)-1-int(i)]
	at := d.data[e.at:]
	return exchange.View(at[:e.name]), exchange.View(at[e.name:][:e.value]), true
}

func (d *Decoder) resize(block []byte) ([]byte, error) {
	n, block, err := number(block, 5)
	if err != nil {
		return nil, err
	}
	if n > TableSize {
		return nil, ErrResize
	}
	d.lowered = TableSize - int(n)
	d.evict(0)
	return block, nil
}

// evict makes room for an entry of that size.
func (d *Decoder) evict(room int) {
	gone := 0
	for ; gone < len(d.entries) && d.size+room > TableSize-d.lowered; gone++ {
		d.size -= int(d.entries[gone].name) + int(d.entries[gone].value) + entryOverhead
	}
	if gone > 0 {
		d.entries = d.entries[:copy(d.entries, d.entries[gone:])]
	}
}

// add adds an entry. Its name may be one of the table.
func (d *Decoder) add(name, value string) {
	size := len(name) + len(value) + entryOverhead
	if size > TableSize-d.lowered { // RFC 7541 §4.4: it empties the table
		d.entries, d.data, d.size = d.entries[:0], d.data[:0], 0
		return
	}
	bytes := len(name) + len(value)
	if cap(d.data)-len(d.data) < bytes {
		// The name may lie in what moves: it is copied to the new place before the old one is overwritten.
		live := d.size - entryOverhead*len(d.entries)
		moved := make([]byte, 0, min(max(2*(live+bytes), 256), 2*TableSize))
		for i := range d.entries {
			e := &d.entries[i]
			from := d.data[e.at:][:int(e.name)+int(e.value)]
			e.at = uint16(len(moved))
			moved = append(moved, from...)
		}
		d.data = moved
	}
	at := len(d.data)
	d.data = append(append(d.data, name...), value...)
	d.evict(size) // after the name was copied
	d.entries = append(d.entries, entry{uint16(at), uint16(len(name)), uint16(len(value))})
	d.size += size
}
