package aead

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"slices"
)

func newCBCBox(material []byte) (*Box, error) {
	block, err := aes.NewCipher(material)
	if err != nil {
		return nil, err
	}
	seal := func(dst, plaintext, _ []byte) []byte {
		start, pad := len(dst), aes.BlockSize-len(plaintext)%aes.BlockSize
		dst = slices.Grow(dst, aes.BlockSize+len(plaintext)+pad)[:start+aes.BlockSize]
		iv := dst[start:]
		rand.Read(iv) // never fails: crypto/rand ends the process instead
		dst = append(dst, plaintext...)
		for range pad {
			dst = append(dst, byte(pad))
		}
		body := dst[start+aes.BlockSize:]
		cipher.NewCBCEncrypter(block, iv).CryptBlocks(body, body)
		return dst
	}
	open := func(dst, sealed, _ []byte) ([]byte, error) {
		if len(sealed)%aes.BlockSize != 0 {
			return nil, errOpen
		}
		body := slices.Clone(sealed[aes.BlockSize:])
		cipher.NewCBCDecrypter(block, sealed[:aes.BlockSize]).CryptBlocks(body, body)
		return unpad(dst, body)
	}
	return &Box{BoxCBC, 2 * aes.BlockSize, seal, open}, nil
}

// unpad appends what stands before PKCS#7 padding to dst. How long it takes does not depend on what is wrong, and
// there is one error, so that nobody who can have texts opened learns of a plaintext by its padding.
func unpad(dst, padded []byte) ([]byte, error) {
	last := padded[len(padded)-aes.BlockSize:]
	pad := int(last[aes.BlockSize-1])
	good := subtle.ConstantTimeLessOrEq(1, pad) & subtle.ConstantTimeLessOrEq(pad, aes.BlockSize)
	for i, b := range last {
		inside := subtle.ConstantTimeLessOrEq(aes.BlockSize-i, pad)
		good &= subtle.ConstantTimeSelect(inside, subtle.ConstantTimeByteEq(b, byte(pad)), 1)
	}
	if good != 1 {
		return nil, errOpen
	}
	return append(dst, padded[:len(padded)-pad]...), nil
}
