package aead

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"sync"
	"sync/atomic"
)

const derivationSize = 12 // the half of the nonce that derives a key

// derivation is the working memory of one key derivation. It is pooled because block ciphers are
// called through an interface, which would move it to the heap each time.
type derivation struct {
	input [aes.BlockSize]byte
	key   [KeySize]byte
}

// maxDerived is how many messages one derived key seals. Their GCM nonces are random, so two of them are equal with a
// probability below 2^-77; over 2^50 messages of one key that is 2^-37.
const maxDerived = 1024

// derived is a key made from the first half of a nonce.
type derived struct {
	nonce [derivationSize]byte
	gcm   cipher.AEAD
	used  atomic.Int64 // messages sealed
}

// xaes is an XAES-256-GCM key. What does not depend on the nonce, the key schedule and the CMAC subkey K1 (steps 1
// and 2 of the specification), is computed once.
type xaes struct {
	block   cipher.Block
	k1      [aes.BlockSize]byte
	pool    sync.Pool                             // of *derivation
	sealing atomic.Pointer[derived]               // seals until it was used up
	opening [openingSlots]atomic.Pointer[derived] // opened last, by the nonce's first byte
}

// openingSlots is how many derived keys are kept for opening. Every process derives one for each 1,024 values that it
// seals, and those of a table are read in another order than they were written in.
const openingSlots = 64

func newXAES(material []byte) (*Key, error) {
	block, err := aes.NewCipher(material)
	if err != nil {
		return nil, err
	}
	x := &xaes{block: block, k1: cmacSubkey(block), pool: sync.Pool{New: func() any { return new(derivation) }}}
	return &Key{AES256GCM, x.seal, x.open}, nil
}

func (x *xaes) seal(out, plaintext, associated []byte) {
	d := x.sealing.Load()
	if d == nil || d.used.Add(1) > maxDerived {
		var nonce [derivationSize]byte
		rand.Read(nonce[:]) // never fails: crypto/rand ends the process instead
		var err error
		if d, err = x.derive(nonce[:]); err != nil {
			panic("aead: AES refused a key of 32 bytes: " + err.Error())
		}
		d.used.Store(1)
		x.sealing.Store(d)
	}
	copy(out, d.nonce[:])
	d.gcm.Seal(out[derivationSize:derivationSize], nil, plaintext, associated)
}

func (x *xaes) open(dst, sealed, associated []byte) ([]byte, error) {
	slot := &x.opening[sealed[0]%openingSlots]
	d := slot.Load()
	if d == nil || d.nonce != [derivationSize]byte(sealed) {
		var err error
		if d, err = x.derive(sealed[:derivationSize]); err != nil {
			return nil, err
		}
		slot.Store(d)
	}
	return d.gcm.Open(dst, nil, sealed[derivationSize:], associated)
}

func (x *xaes) derive(nonce []byte) (*derived, error) {
	d := x.pool.Get().(*derivation)
	defer x.pool.Put(d)
	defer clear(d.key[:])
	d.derive(x.block, &x.k1, nonce)
	gcm, err := newGCM(d.key[:])
	return &derived{nonce: [derivationSize]byte(nonce), gcm: gcm}, err
}

// newGCM makes the only form of GCM that strict FIPS 140 mode permits: its Seal draws the nonce, its Open
// reads it before the ciphertext.
func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// cmacSubkey computes K1 of NIST SP 800-38B §6.1.
func cmacSubkey(block cipher.Block) (k1 [aes.BlockSize]byte) {
	var l [aes.BlockSize]byte
	block.Encrypt(l[:], l[:])
	var carry byte
	for i := len(l) - 1; i >= 0; i-- {
		k1[i] = l[i]<<1 | carry
		carry = l[i] >> 7
	}
	k1[len(k1)-1] ^= carry * 0x87 // without a branch on a secret bit
	return k1
}

// derive computes the key of a nonce: two CMACs of one block each, which hold a 16-bit counter, the
// label "X", a zero byte and the nonce (NIST SP 800-108r1 §4.1 without the field L).
func (d *derivation) derive(block cipher.Block, k1 *[aes.BlockSize]byte, nonce []byte) {
	d.input = *k1
	d.input[1] ^= 1
	d.input[2] ^= 'X'
	subtle.XORBytes(d.input[4:], d.input[4:], nonce)
	block.Encrypt(d.key[:aes.BlockSize], d.input[:])
	d.input[1] ^= 1 ^ 2
	block.Encrypt(d.key[aes.BlockSize:], d.input[:])
}
