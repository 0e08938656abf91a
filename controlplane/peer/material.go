package peer

import (
	"crypto/hpke"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/secret"
)

// Key material of a reply before it is sealed, version 1, integers big-endian, frozen by
// testdata/material.golden. It is no proto message, since those print what they hold:
//
//	version   1 byte  0x01
//	id        1 + n   length, bytes
//	material  2 + n   length, bytes; id and material once for each key, ids in ascending order
const (
	materialVersion = 1
	maxIDs          = 128 // of a request; the rest is asked for next
	maxID           = 64
	maxMaterial     = 512
	sealLabel       = "keepgate/peer/ring/v1"
)

var errMaterial = errors.New("not key material of version 1")

func kem() hpke.KEM    { return hpke.MLKEM768X25519() }
func kdf() hpke.KDF    { return hpke.HKDFSHA256() }
func suite() hpke.AEAD { return hpke.AES256GCM() }

// bond is what a sealed reply is bound to: it opens for this request of this process, from this node.
type bond struct {
	cluster, requester, responder string
	incarnation                   incarnation // of the requester
	nonce                         []byte      // of the request
}

func (b bond) info() []byte {
	started := binary.BigEndian.AppendUint64(nil, uint64(b.incarnation.started))
	return aead.Associated(sealLabel, b.cluster, b.requester, string(started)+string(b.incarnation.random[:]), b.responder, string(b.nonce))
}

// sealMaterial takes the keys out of lend, at most maxIDs of them, and seals them for the holder of
// publicKey. It returns the ids that it found; sealed is nil without any.
func sealMaterial(publicKey []byte, b bond, ids []string, lend func(ids []string, use func(id string, material secret.Bytes))) (sealed []byte, lent []string, err error) {
	to, err := kem().NewPublicKey(publicKey)
	if err != nil {
		return nil, nil, fmt.Errorf("public key of the requester: %w", err)
	}
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	// As large as it can get, so that append never leaves a copy behind.
	plain := make([]byte, 1, 1+len(ids)*(1+maxID+2+maxMaterial))
	defer func() { clear(plain[:cap(plain)]) }()
	plain[0] = materialVersion
	for _, id := range ids {
		lend([]string{id}, func(found string, material secret.Bytes) {
			if found != id || material.Len() == 0 || material.Len() > maxMaterial {
				return
			}
			plain = append(append(plain, byte(len(id))), id...)
			plain = binary.BigEndian.AppendUint16(plain, uint16(material.Len()))
			material.Reveal(func(data []byte) { plain = append(plain, data...) })
			lent = append(lent, id)
		})
	}
	if len(lent) == 0 {
		return nil, nil, nil
	}
	sealed, err = hpke.Seal(to, kdf(), suite(), b.info(), plain)
	if err != nil {
		return nil, nil, fmt.Errorf("sealing: %w", err)
	}
	return sealed, lent, nil
}

// openMaterial opens what sealMaterial sealed. The caller wipes what it does not keep.
func openMaterial(key hpke.PrivateKey, b bond, sealed []byte) (map[string]secret.Bytes, error) {
	plain, err := hpke.Open(key, kdf(), suite(), b.info(), sealed)
	if err != nil {
		return nil, fmt.Errorf("opening: %w", err)
	}
	defer clear(plain)
	return decodeMaterial(plain)
}

func decodeMaterial(plain []byte) (map[string]secret.Bytes, error) {
	if len(plain) == 0 || plain[0] != materialVersion {
		return nil, errMaterial
	}
	found, last := make(map[string]secret.Bytes), ""
	for rest := plain[1:]; len(rest) > 0; {
		id, after, ok := cut(rest, 1, maxID)
		if !ok || string(id) <= last || len(found) == maxIDs {
			return wipe(found)
		}
		material, after, ok := cut(after, 2, maxMaterial)
		if !ok {
			return wipe(found)
		}
		last, rest = string(id), after
		found[last] = secret.Take(slices.Clone(material))
	}
	return found, nil
}

// cut takes a part of 1 to most bytes after its length of size bytes.
func cut(data []byte, size, most int) (part, rest []byte, ok bool) {
	if len(data) < size {
		return nil, nil, false
	}
	n := 0
	for _, b := range data[:size] {
		n = n<<8 | int(b)
	}
	data = data[size:]
	if n == 0 || n > most || n > len(data) {
		return nil, nil, false
	}
	return data[:n], data[n:], true
}

func wipe(found map[string]secret.Bytes) (map[string]secret.Bytes, error) {
	for _, material := range found {
		material.Wipe()
	}
	return nil, errMaterial
}
