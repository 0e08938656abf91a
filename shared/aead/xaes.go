package aead

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"sync"
)

const derivationSize = 12 // the half of the nonce that derives the single-use key

// derivation is the working memory of one key derivation. It is pooled because block ciphers are
// called through an interface, which would move it to the heap each time.
type derivation struct {
	input [aes.BlockSize]byte
	key   [KeySize]byte
}

// newXAES makes an XAES-256-GCM key. What does not depend on the nonce, the key schedule and the CMAC
// subkey K1 (steps 1 and 2 of the specification), is computed once.
func newXAES(material []byte) (*Key, error) {
	block, err := aes.NewCipher(material)
	if err != nil {
		return nil, err
	}
	k1 := cmacSubkey(block)
	pool := &sync.Pool{New: func() any { return new(derivation) }}
	single := func(nonce []byte) (cipher.AEAD, error) {
		d := pool.Get().(*derivation)
		defer pool.Put(d)
		defer clear(d.key[:])
		d.derive(block, &k1, nonce)
		return newGCM(d.key[:])
	}
	seal := func(out, plaintext, associated []byte) {
		rand.Read(out[:derivationSize]) // never fails: crypto/rand ends the process instead
		gcm, err := single(out[:derivationSize])
		if err != nil {
			panic("aead: AES refused a key of 32 bytes: " + err.Error())
		}
		gcm.Seal(out[derivationSize:derivationSize], nil, plaintext, associated)
	}
	open := func(dst, sealed, associated []byte) ([]byte, error) {
		gcm, err := single(sealed[:derivationSize])
		if err != nil {
			return nil, err
		}
		return gcm.Open(dst, nil, sealed[derivationSize:], associated)
	}
	return &Key{AES256GCM, seal, open}, nil
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

// derive computes the single-use key: two CMACs of one block each, which hold a 16-bit counter, the
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
