// Package cluster keeps key material in memory only. A restart forgets it; nodes that still hold it, or an
// operator with the recovery key, give it back.
//
// With a recovery public key, every key row also carries its material encrypted to that key
// (RSA-OAEP with SHA-256, RFC 8017 §7.1, the key's id in the label), which nothing on this node can open:
// the private key stays with the operator. Without one, material that every node has forgotten is gone.
//
// Kept material is a version byte, 0x01, the first 8 bytes of the SHA-256 of the public key's DER
// (SubjectPublicKeyInfo) and the ciphertext.
//
// Anyone can encrypt to a public key, so what a row holds proves nothing about who wrote it: recovered
// material counts only when it has the row's check value.
package cluster

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"slices"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

const (
	version = 1
	label   = "keepgate/keyring/1/"
)

// Keeper encrypts material to a recovery key, if there is one.
type Keeper struct{ recovery *RecoveryKey }

// New makes a Keeper. A nil recovery key means that nothing is kept.
func New(recovery *RecoveryKey) *Keeper { return &Keeper{recovery} }

// Strategy is the name that settings and the database know.
func (*Keeper) Strategy() string { return "cluster" }

// InMemoryOnly is true: a restart forgets the material.
func (*Keeper) InMemoryOnly() bool { return true }

// Prepare needs nothing.
func (*Keeper) Prepare() (notice string, err error) { return "", nil }

// Keep puts material encrypted to the recovery key into row, if there is such a key.
func (k *Keeper) Keep(row record.Key, material secret.Bytes) (record.Key, error) {
	if k.recovery == nil {
		return row, nil
	}
	var sealed []byte
	var err error
	material.Reveal(func(data []byte) {
		sealed, err = rsa.EncryptOAEP(sha256.New(), rand.Reader, k.recovery.public, data, []byte(label+row.ID))
	})
	if err != nil {
		return row, fault.Newf(fault.Internal, "cluster.Keep", "key/"+row.ID, "encrypting to the recovery key: %w", err)
	}
	row.Recovery = slices.Concat(k.recovery.head(), sealed)
	return row, nil
}

// Restore never can: only the private recovery key opens what Keep made.
func (k *Keeper) Restore(row record.Key) (secret.Bytes, error) {
	advice := "it was held in memory only and no recovery key was configured: it comes back only from a node that still holds it"
	if len(row.Recovery) > 0 {
		advice = "it is held in memory only: it comes from another node that holds it, or by POST /keyring/recover with the private recovery key"
	}
	return secret.Bytes{}, fault.New(fault.Unavailable, "cluster.Restore", "key/"+row.ID, errors.New(advice))
}

// Kept reports whether row holds material encrypted to the present recovery key, so that it needs no
// rewriting.
func (k *Keeper) Kept(row record.Key) bool {
	return k.recovery == nil || bytes.HasPrefix(row.Recovery, k.recovery.head())
}

// Recovery returns what opens kept material with a private key: RSA, in PEM, not encrypted. It fails with
// fault.Invalid when privatePEM is something else. The caller wipes privatePEM.
func (k *Keeper) Recovery(privatePEM []byte) (func(row record.Key) (secret.Bytes, error), error) {
	private, err := ParsePrivate(privatePEM)
	if err != nil {
		return nil, fault.New(fault.Invalid, "cluster.Recovery", "recovery_private_key", err)
	}
	public, err := newRecoveryKey(&private.PublicKey)
	if err != nil {
		return nil, fault.New(fault.Invalid, "cluster.Recovery", "recovery_private_key", err)
	}
	return func(row record.Key) (secret.Bytes, error) { return recoverKey(private, public, row) }, nil
}

func recoverKey(private *rsa.PrivateKey, public *RecoveryKey, row record.Key) (secret.Bytes, error) {
	const op = "cluster.Recovery"
	head := public.head()
	switch {
	case len(row.Recovery) == 0:
		return secret.Bytes{}, fault.Newf(fault.NotFound, op, "key/"+row.ID, "nothing was stored for recovery: no keyring_recovery_public_key was configured when it was made")
	case len(row.Recovery) < len(head) || row.Recovery[0] != version:
		return secret.Bytes{}, fault.Newf(fault.Corrupt, op, "key/"+row.ID, "what is stored for recovery is malformed")
	case !bytes.HasPrefix(row.Recovery, head):
		return secret.Bytes{}, fault.Newf(fault.Denied, op, "key/"+row.ID, "encrypted to another recovery key, whose public half has the digest %x; the given one has %x",
			row.Recovery[1:len(head)], public.digest)
	}
	material, err := rsa.DecryptOAEP(sha256.New(), nil, private, row.Recovery[len(head):], []byte(label+row.ID))
	if err != nil {
		return secret.Bytes{}, fault.Newf(fault.Corrupt, op, "key/"+row.ID, "the private key does not open what is stored: the row was changed")
	}
	return secret.Take(material), nil
}

// Warnings says at every start what is missing.
func (k *Keeper) Warnings() []string {
	if k.recovery != nil {
		return nil
	}
	return []string{"keyring_strategy = cluster without keyring_recovery_public_key: keys are held in memory only. When this node " +
		"restarts and no other holds them, every secret in the database is lost for good. Make a key pair (openssl genrsa -out " +
		"key.pem 2048; openssl rsa -in key.pem -pubout -out recovery.pem), set keyring_recovery_public_key to recovery.pem, " +
		"the public half, and keep key.pem offline"}
}
