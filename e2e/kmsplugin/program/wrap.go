package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"maps"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keepgate/keepgate/shared/aead"
)

// associated binds a ciphertext to its key_id and annotations.
func associated(keyID string, annotations map[string][]byte) []byte {
	parts := []string{keyID}
	for _, name := range slices.Sorted(maps.Keys(annotations)) {
		parts = append(parts, name, string(annotations[name]))
	}
	return aead.Associated("e2e/kmsplugin", parts...)
}

// current is the key that encrypts now.
func (p *plugin) current() (key, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := p.saved.Active
	if p.saved.Faults.Flap {
		id = p.flapping()
	}
	return p.saved.find(id)
}

// wrap encrypts, and does wrong what it is told to.
func (p *plugin) wrap(plaintext []byte, annotations map[string][]byte) (keyID string, ciphertext []byte, err error) {
	k, err := p.current()
	if err != nil {
		return "", nil, err
	}
	cipher, err := k.aead()
	if err != nil {
		return "", nil, err
	}
	ciphertext = cipher.Seal(nil, plaintext, associated(k.ID, annotations))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wrapped = append(p.wrapped, bytes.Clone(plaintext))
	faults := p.saved.Faults
	if faults.Garbage {
		rand.Read(ciphertext)
	}
	if size := faults.CipherSize; size != 0 {
		ciphertext = append(ciphertext, make([]byte, max(0, size))...)[:max(0, size)]
	}
	return k.ID, ciphertext, nil
}

// unwrap decrypts under a key that it knows, and does wrong what it is told to.
func (p *plugin) unwrap(keyID string, ciphertext []byte, annotations map[string][]byte) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k, err := p.saved.find(keyID)
	if err != nil {
		return nil, status.Errorf(codes.NotFound, "%v", err)
	}
	cipher, err := k.aead()
	if err != nil {
		return nil, err
	}
	plaintext, err := cipher.Open(nil, ciphertext, associated(keyID, annotations))
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "this plugin did not encrypt that")
	}
	switch p.saved.Faults.Plaintext {
	case "":
		return plaintext, nil
	case "short":
		return plaintext[:len(plaintext)/2], nil
	case "empty":
		return nil, nil
	case "other":
		for _, other := range p.wrapped {
			if !bytes.Equal(other, plaintext) {
				return other, nil
			}
		}
	case "wrong":
		rand.Read(plaintext)
		return plaintext, nil
	}
	return nil, errors.New("nothing other was encrypted by this process")
}
