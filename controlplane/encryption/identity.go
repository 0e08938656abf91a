package encryption

import (
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
)

// identity writes and reads plaintext.
type identity struct{ _ byte } // of some size: pointers to nothing may all be one

// Identity is the provider of what nobody seals.
func Identity() Provider { return &identity{} }

// IdentityUnless is Identity of a table in which some plaintexts may never rest: what refuse has an error for is
// neither written, which fails with fault.Denied, nor believed.
func IdentityUnless(refuse func(plaintext string) error) Provider { return &choosy{refuse: refuse} }

type choosy struct {
	identity
	refuse func(plaintext string) error
}

func (c *choosy) Seal(p aead.Place, plaintext string) (string, error) {
	if err := c.refuse(plaintext); err != nil {
		return "", fault.New(fault.Denied, "encryption.Seal", placeName(p), err)
	}
	return c.identity.Seal(p, plaintext)
}

func (c *choosy) Open(p aead.Place, text string) (string, error) {
	text, err := c.identity.Open(p, text)
	if err != nil {
		return "", err
	}
	if err := c.refuse(text); err != nil {
		return "", fault.New(fault.Corrupt, "encryption.Open", placeName(p), err)
	}
	return text, nil
}

func (*identity) Prefix() string { return "" }

func (*identity) Seal(p aead.Place, plaintext string) (string, error) {
	if record.IsSealed(plaintext) {
		return "", fault.Newf(fault.Invalid, "encryption.Seal", placeName(p), "a value that begins $ke$ or k8s:enc: cannot be stored in clear")
	}
	return plaintext, nil
}

func (*identity) Open(p aead.Place, text string) (string, error) {
	if record.IsSealed(text) {
		return "", fault.Newf(fault.Corrupt, "encryption.Open", placeName(p), "a sealed value is no plaintext")
	}
	return text, nil
}

func (*identity) Mark() (string, error) { return "", nil }
