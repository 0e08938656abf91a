package keks

import (
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
)

// What was wrapped, version 1; frozen by testdata/wrapped.golden:
//
//	version  1 byte   0x01
//	use      1 byte   0x00 to be kept, 0x01 a trial
//	body     n+40     sealed by XAES-256-GCM (shared/aead)
//
// Associated with a label, the organisation, the KEK's name, the key_id, and both bytes before the body, so that it
// opens for nobody else, under no other key and in no other use. Under one key_id there is one key for ever, and what is
// sealed opens as one plaintext: answers for different plaintexts differ.
const (
	wrapVersion = 1
	useKept     = 0
	useTrial    = 1
	headerSize  = 2

	labelWrapped = "keepgate kek wrapped v1"

	// MaxWrapped is the longest ciphertext, which Kubernetes bounds, and MaxPlaintext what fits into it.
	MaxWrapped   = 1024
	MaxPlaintext = MaxWrapped - headerSize - aead.Overhead
)

func header(trial bool) []byte {
	if trial {
		return []byte{wrapVersion, useTrial}
	}
	return []byte{wrapVersion, useKept}
}

func (g *generation) wrap(organisation, name string, plaintext []byte, trial bool) ([]byte, error) {
	const op = "keks.Wrap"
	if len(plaintext) < 1 || len(plaintext) > MaxPlaintext {
		return nil, fault.Newf(fault.Invalid, op, "kek/"+name, "a plaintext has 1 to %d bytes, and not %d", MaxPlaintext, len(plaintext))
	}
	h := header(trial)
	return g.key.Seal(h, plaintext, aead.Associated(labelWrapped, organisation, name, g.KeyID, string(h))), nil
}

func (g *generation) unwrap(organisation, name string, wrapped []byte, trial bool) ([]byte, error) {
	const op = "keks.Unwrap"
	h := header(trial)
	if len(wrapped) <= headerSize+aead.Overhead || len(wrapped) > MaxWrapped || string(wrapped[:headerSize]) != string(h) {
		return nil, fault.Newf(fault.Invalid, op, "kek/"+name, "the ciphertext is none that this KEK made for this use")
	}
	plaintext, err := g.key.Open(nil, wrapped[headerSize:], aead.Associated(labelWrapped, organisation, name, g.KeyID, string(h)))
	if err != nil {
		return nil, fault.Newf(fault.Invalid, op, "kek/"+name, "the ciphertext is none that this KEK made under this key")
	}
	return plaintext, nil
}
