package proxycache

import (
	"encoding/binary"
	"encoding/hex"
	"errors"

	"github.com/keepgate/keepgate/dataplane/cachestore"
	"github.com/keepgate/keepgate/dataplane/exchange"
)

// A kept response, integers big-endian; frozen by testdata/kept.golden:
//
//	version   1    1
//	flags     1    1: it names the headers that responses differ by, and is none itself; 2: to a HEAD; 4: not to be used when stale
//	status    2
//	stored    8    Unix seconds
//	age       4    it had when it came, seconds
//	lifetime  4    seconds from then on
//	length    8    of a GET's body, -1 when not known: to a HEAD
//	key      32    that it is shown and purged by
//	fields    2    for each: length 2 and name, length 4 and value
//	body           the rest
const (
	valueVersion = 1
	valueHead    = 62
	flagVaries   = 1
	flagHEAD     = 2
	flagStrict   = 4
)

var errValue = errors.New("no kept response")

// kept is a response as it lies in the cache. Fields and body are views of it.
type kept struct {
	flags         byte
	status        int
	stored        int64
	age, lifetime int64
	length        int64
	key           cachestore.Name
	fields        fields
	body          []byte
}

func (k *kept) varies() bool { return k.flags&flagVaries != 0 }

// appendHead appends all before the body. all visits the fields.
func (k *kept) appendHead(b []byte, all func(yield func(name, value string) bool)) []byte {
	b = append(b, valueVersion, k.flags)
	b = binary.BigEndian.AppendUint16(b, uint16(k.status))
	b = binary.BigEndian.AppendUint64(b, uint64(k.stored))
	b = binary.BigEndian.AppendUint32(b, uint32(k.age))
	b = binary.BigEndian.AppendUint32(b, uint32(k.lifetime))
	b = binary.BigEndian.AppendUint64(b, uint64(k.length))
	b = append(b, k.key[:]...)
	at, count := len(b), uint16(0)
	b = append(b, 0, 0)
	all(func(name, value string) bool {
		b = binary.BigEndian.AppendUint16(b, uint16(len(name)))
		b = append(b, name...)
		b = binary.BigEndian.AppendUint32(b, uint32(len(value)))
		b = append(b, value...)
		count++
		return true
	})
	binary.BigEndian.PutUint16(b[at:], count)
	return b
}

// decode reads a kept response, whose fields are found to be in order.
func decode(b []byte) (k kept, err error) {
	if len(b) < valueHead || b[0] != valueVersion {
		return k, errValue
	}
	k.flags, k.status = b[1], int(binary.BigEndian.Uint16(b[2:]))
	k.stored = int64(binary.BigEndian.Uint64(b[4:]))
	k.age, k.lifetime = int64(binary.BigEndian.Uint32(b[12:])), int64(binary.BigEndian.Uint32(b[16:]))
	k.length = int64(binary.BigEndian.Uint64(b[20:]))
	copy(k.key[:], b[28:])
	k.fields = fields{count: int(binary.BigEndian.Uint16(b[60:])), rest: b[valueHead:]}
	for left := k.fields; left.count > 0; {
		if _, _, ok := left.next(); !ok {
			return k, errValue
		}
		k.body = left.rest
	}
	if k.fields.count == 0 {
		k.body = k.fields.rest
	}
	if !k.varies() && (k.status < 200 || k.status > 999) {
		return k, errValue
	}
	return k, nil
}

// fields are those that were not visited yet.
type fields struct {
	count int
	rest  []byte
}

func (f *fields) next() (name, value string, ok bool) {
	if f.count == 0 {
		return "", "", false
	}
	n, ok := f.take(2)
	if !ok {
		return "", "", false
	}
	v, ok := f.take(4)
	f.count--
	return exchange.View(n), exchange.View(v), ok
}

// take cuts what follows its length.
func (f *fields) take(size int) ([]byte, bool) {
	if len(f.rest) < size {
		return nil, false
	}
	n := uint64(binary.BigEndian.Uint16(f.rest))
	if size == 4 {
		n = uint64(binary.BigEndian.Uint32(f.rest))
	}
	f.rest = f.rest[size:]
	if uint64(len(f.rest)) < n {
		return nil, false
	}
	taken := f.rest[:n:n]
	f.rest = f.rest[n:]
	return taken, true
}

// Shown is what operators are told of a kept response: nothing that it says.
type Shown struct {
	Tier     string   `json:"tier"`
	Status   int      `json:"status"`
	StoredAt int64    `json:"stored_at"`
	Age      int64    `json:"age"`
	TTL      int64    `json:"ttl"`
	Bytes    int      `json:"bytes"`
	Headers  []string `json:"headers"` // their names
}

// Look lists what is kept under a key, as of now.
func Look(cache *cachestore.Cache, key string, now int64) (found []Shown) {
	var name cachestore.Name
	if n, err := hex.Decode(name[:], []byte(key)); len(key) != 2*len(name) || err != nil || n != len(name) {
		return nil
	}
	cache.Each(key, func(tier string, value []byte) bool {
		k, err := decode(value)
		if err != nil || k.varies() || k.key != name {
			return true
		}
		one := Shown{Tier: tier, Status: k.status, StoredAt: k.stored, Age: max(0, now-k.stored) + k.age, TTL: k.lifetime, Bytes: len(k.body), Headers: []string{}}
		for f := k.fields; f.count > 0; {
			name, _, _ := f.next()
			one.Headers = append(one.Headers, string([]byte(name)))
		}
		found = append(found, one)
		return len(found) < maxShown
	})
	return found
}

const maxShown = 100
