// Package local keeps key material in the database, wrapped by a key file beside it, so that a single
// node finds its keys again after a restart without anybody's help.
//
// What that protects: a copy of the database alone, as a backup or a stolen disk image of it, gives no
// secret. What it does not: whoever takes the database and the key file, or controls the host, has every
// key. It serves one node; control planes that share a database use another strategy.
//
// A missing key file is never replaced while the database holds keys: a new one would open nothing and
// hide the loss. The file is text of two lines, mode 0600: a header and 32 random bytes in base64.
//
// Wrapped material is a version byte, 0x01, and what aead seals (XAES-256-GCM) with the key's id as
// associated data; frozen by testdata/wrapped.golden.
package local

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

const (
	version = 1
	label   = "keepgate keyring local 1"
)

// Keeper wraps and unwraps material by one key file.
type Keeper struct{ path string }

// New makes a Keeper for the key file at path and touches nothing.
func New(path string) *Keeper { return &Keeper{path} }

// Strategy is the name that settings and the database know.
func (*Keeper) Strategy() string { return "local" }

// InMemoryOnly is false: a restart finds the material again.
func (*Keeper) InMemoryOnly() bool { return false }

// Prepare makes the key file for a database without keys. A file that is there already is used; it may be that of
// another database, which a wrong path hides, so the notice asks.
func (k *Keeper) Prepare() (notice string, err error) {
	material, _, err := readFile(k.path)
	if err == nil {
		material.Wipe()
		return "key file present, database new: " + k.path + "; is this the right database?", nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", k.wrapFileError("local.Prepare", err)
	}
	err = createFile(k.path)
	if errors.Is(err, fs.ErrExist) { // a process beside this one was faster
		return "", nil
	}
	if err != nil {
		return "", k.wrapFileError("local.Prepare", err)
	}
	return fmt.Sprintf("made the key file %s (mode 0600). It wraps the keys that the database holds: the database alone, "+
		"or a backup of it, now gives no secret. Whoever takes both files, or controls this host, has all of them. "+
		"Without this file the secrets in the database are lost: keep a copy of it, apart from copies of the database", k.path), nil
}

// Keep puts the wrapped material into row.
func (k *Keeper) Keep(row record.Key, material secret.Bytes) (record.Key, error) {
	key, err := k.open("local.Keep")
	if err != nil {
		return row, err
	}
	material.Reveal(func(data []byte) {
		row.Wrapped = key.Seal([]byte{version}, data, aead.Associated(label, row.ID))
	})
	return row, nil
}

// Restore opens what Keep returned. It fails with fault.Unavailable when the key file is not there, and
// with fault.Corrupt when the file is another one or the row was changed.
func (k *Keeper) Restore(row record.Key) (secret.Bytes, error) {
	const op = "local.Restore"
	if len(row.Wrapped) == 0 || row.Wrapped[0] != version {
		return secret.Bytes{}, fault.Newf(fault.Corrupt, op, "key/"+row.ID, "the row holds no material wrapped by a key file")
	}
	key, err := k.open(op)
	if err != nil {
		return secret.Bytes{}, err
	}
	material, err := key.Open(nil, row.Wrapped[1:], aead.Associated(label, row.ID))
	if err != nil {
		return secret.Bytes{}, fault.Newf(fault.Corrupt, op, "key/"+row.ID, "the key file %s does not open this key: it belongs to another database, or the row was changed", k.path)
	}
	return secret.Take(material), nil
}

// Warnings says who else may read the key file.
func (k *Keeper) Warnings() []string {
	material, notice, err := readFile(k.path)
	material.Wipe()
	if err != nil || notice == "" {
		return nil // what is wrong with the file is told by whoever needs it
	}
	return []string{"keyring_local_key_file: " + notice}
}

func (k *Keeper) open(op string) (*aead.Key, error) {
	material, _, err := readFile(k.path)
	if err != nil {
		return nil, k.wrapFileError(op, err)
	}
	defer material.Wipe()
	key, err := aead.NewKey(aead.AES256GCM, material)
	if err != nil {
		return nil, fault.New(fault.Internal, op, k.path, err)
	}
	return key, nil
}

func (k *Keeper) wrapFileError(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fault.Newf(fault.Unavailable, op, "keyring_local_key_file", // the setting: the Admin API names it

			"the key file that wraps this database's keys is not there; put it back from its copy (a new one would not open them), "+
				"then: keepgate-cp reload: %w", err)
	case errors.Is(err, fs.ErrPermission):
		return fault.Newf(fault.Denied, op, k.path, "reading the key file: %w", err)
	}
	return fault.Newf(fault.Invalid, op, k.path, "key file: %w", err)
}
