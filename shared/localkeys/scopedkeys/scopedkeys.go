// Package scopedkeys reads the keys that an operator gives for an organisation or an environment, and decides which of
// them seals what on one node.
//
// They come from settings, from a folder with a file for each key, and from one YAML file:
//
//	defaults:
//	  org: {contractEncryptionKey: …, kmsEncryptionKey: …, kvmEncryptionKey: …}
//	  env: {kvmEncryptionKey: …, cacheEncryptionKey: …}
//	org: NAME
//	contractEncryptionKey: …        # of the organisation, in place of the default; kms and kvm likewise
//	envs:
//	  - name: NAME
//	    kvmEncryptionKey: …         # of the environment, in place of the default; cache likewise
//	    kmsEncryptionKey: …         # the organisation's, written again
//
// A value is 16, 24 or 32 bytes in base64, or such a key wrapped by a KMS plugin or by Vault's transit engine, which an
// [Opener] opens. Reading is strict: a file with one mistake gives nothing, and all its mistakes are told, each with its
// line and without any key.
//
// What a setting gives comes before the folder, the folder before the file, and the file's own entries before its
// defaults. The first three must agree: one key that is given twice differently is a mistake, and not a matter of rank.
//
// Which key opens what was sealed before is not decided here: dataplane/app remembers keys.
package scopedkeys

import (
	"context"
	"fmt"

	"github.com/keepgate/keepgate/shared/localkeys"
	"github.com/keepgate/keepgate/shared/secret"
)

// The names of keys, as files write them.
const (
	contractName = "contractEncryptionKey"
	kmsName      = "kmsEncryptionKey"
	kvmName      = "kvmEncryptionKey"
	cacheName    = "cacheEncryptionKey"
)

// NameOf is how files write the key of a class.
func NameOf(class localkeys.Class) string { return string(class) + "EncryptionKey" }

// Opener opens wrapped keys.
type Opener interface {
	// OpenKey opens a value that begins kms:v2: or vault:v1:. It fails with fault.Unavailable while the service cannot be
	// asked, and shows nothing of the key.
	OpenKey(ctx context.Context, wrapped string) (secret.Bytes, error)
}

// Who is the node that keys are chosen for.
type Who struct{ Organisation, Environment string }

// Key says for what a key is given: a class of the organisation or of this node's environment.
type Key struct {
	Class       localkeys.Class
	Environment bool
}

// Keys are all that can be given, in the order in which they are told.
func Keys() []Key {
	return []Key{{localkeys.Contract, false}, {localkeys.KMS, false}, {localkeys.KVM, false}, {localkeys.KVM, true}, {localkeys.Cache, true}}
}

// Section is what the key seals on a node.
func (k Key) Section(who Who) localkeys.Section {
	if k.Environment {
		return localkeys.Section{Class: k.Class, Scope: who.Environment}
	}
	return localkeys.Section{Class: k.Class}
}

// FileName is the key's name in a folder.
func (k Key) FileName() string {
	if k.Environment {
		return "env." + NameOf(k.Class)
	}
	return "org." + NameOf(k.Class)
}

func (k Key) scope(who Who) string {
	if k.Environment {
		return "environment " + who.Environment
	}
	return "organisation " + who.Organisation
}

// rank is how strong a source is; the lower comes first.
type rank int

const (
	bySetting rank = iota
	byFolder
	byFile
	byDefault
)

// given is one value and where it stands.
type given struct {
	key   Key
	value Value
	rank  rank
	from  place
}

// place is where something stands: a setting, a file, or a line of one.
type place struct {
	file  string
	line  int // 0: the whole
	field string
}

func (p place) String() string {
	if p.line == 0 {
		return p.file
	}
	return fmt.Sprintf("%s:%d", p.file, p.line)
}
