package encryption

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/verifier"
)

// The index key makes fingerprints, so that the database can find a secret and keep it unique. It is made
// with the first key of the keyring and does not change with the ring's: a copy rests sealed under every
// key, and any one that survives opens it. One named value of the database holds all copies, so that they
// change together:
//
//	{"sealed":{"<key id>":"$ke$1$-…"},"migrating":true}    or, with the keyring off,    {"clear":"<base64>"}

const (
	metaIndex     = "index_key"
	indexSize     = 32
	indexAttempts = 8
)

var indexPlace = aead.Place{Table: "@meta", Row: metaIndex, Field: "key"} // no table has such a name

// indexRecord is the stored form.
type indexRecord struct {
	Clear     string            `json:"clear,omitempty"`
	Sealed    map[string]string `json:"sealed,omitempty"`
	Migrating bool              `json:"migrating,omitempty"`
}

// index is what is known of the index key: its use, or why there is none.
type index struct {
	key    secret.Bytes
	sum    *verifier.Fingerprinter // nil: lost
	reason error
}

// Fingerprint returns the text by which a secret value is found: HMAC-SHA256 under the index key. It fails
// with fault.Unavailable and the subject "key/<id>" while no key is held that opens the index key.
func (c *Cipher) Fingerprint(table, field, value string) (string, error) {
	return c.keyed("fingerprint", table, field, value)
}

// Check returns the text by which a row knows its own secret again without keeping it.
func (c *Cipher) Check(table, field, row, value string) (string, error) {
	return c.keyed("check", table, field, row, value)
}

func (c *Cipher) keyed(parts ...string) (string, error) {
	i := c.index.Load()
	if i.sum == nil {
		return "", i.reason
	}
	sum := i.sum.Sum(parts...)
	return hex.EncodeToString(sum[:]), nil
}

// clearIndex reads or makes the index key of a database without a keyring.
func (c *Cipher) clearIndex(ctx context.Context) error {
	return c.changeIndex(ctx, func(record indexRecord, found bool) (indexRecord, *index, error) {
		if !found {
			key := randomKey()
			return clearRecord(key), newIndex(key), nil
		}
		if record.Clear == "" {
			return record, nil, fault.Newf(fault.Denied, "encryption.NewIdentity", "index_key", "the database is encrypted: set keyring_enabled = on")
		}
		key, err := decodeKey(record.Clear)
		return record, newIndex(key), err
	})
}

// syncIndex opens the index key if it can and seals it under every key that is held. It makes one in a new
// database, and in one whose every key was lost before anything was sealed.
func (c *Cipher) syncIndex(ctx context.Context) error {
	return c.changeIndex(ctx, func(record indexRecord, found bool) (indexRecord, *index, error) {
		if (record.Clear != "" || record.Migrating) && !c.options.Migrate && !c.options.Decrypt {
			return record, nil, fault.Newf(fault.Denied, "encryption.New", metaIndex, "the database holds plaintext beside its keyring, of the time "+
				"before it or of a keyring_decrypt_all: set keyring_migrate_plaintext = on until a re-encryption says that none is left")
		}
		key, err := c.openIndex(record, found)
		if err != nil {
			record.Migrating = record.Migrating || c.options.Decrypt
			return record, &index{reason: err}, nil
		}
		if record.Clear != "" && c.options.Decrypt { // as EndDecryption left it
			return record, newIndex(key), nil
		}
		next := indexRecord{Sealed: maps.Clone(record.Sealed), Migrating: record.Migrating || record.Clear != "" || c.options.Decrypt}
		if next.Sealed == nil {
			next.Sealed = map[string]string{}
		}
		if err := c.sealIndex(key, next.Sealed); err != nil {
			return record, nil, err
		}
		if len(next.Sealed) == 0 { // no key is held, so nothing could be kept: make it when one is
			_, _, err := c.keys.Active()
			return record, &index{reason: err}, nil
		}
		return next, newIndex(key), nil
	})
}

// sealIndex adds the copies that are missing, and leaves out those that no key opens any more.
func (c *Cipher) sealIndex(index secret.Bytes, copies map[string]string) error {
	for _, id := range c.keys.Held() {
		if _, ok := copies[id]; ok {
			continue
		}
		under, err := c.keys.Key(id)
		if err != nil {
			return err
		}
		index.Reveal(func(data []byte) { copies[id] = aead.SealText(under, id, indexPlace, data) })
	}
	if len(c.keys.Held()) > 0 {
		maps.DeleteFunc(copies, func(id, _ string) bool { return c.keys.Lost(id) })
	}
	return nil
}

// openIndex finds the index key with any key that is held.
func (c *Cipher) openIndex(record indexRecord, found bool) (secret.Bytes, error) {
	if known := c.index.Load(); known != nil && known.sum != nil && record.Clear == "" {
		return known.key, nil
	}
	if !found {
		return randomKey(), nil
	}
	if record.Clear != "" {
		return decodeKey(record.Clear)
	}
	ids := slices.Sorted(maps.Keys(record.Sealed))
	var errs []error
	lost := 0
	for _, id := range ids {
		key, err := c.keys.Key(id)
		if err == nil {
			var opened []byte
			if opened, err = aead.OpenText(key, indexPlace, record.Sealed[id]); err == nil && len(opened) == indexSize {
				return secret.Take(opened), nil
			}
		} else if c.keys.Lost(id) {
			lost++
		}
		errs = append(errs, err)
	}
	if lost == len(ids) {
		return randomKey(), nil
	}
	subject := "key/" + ids[0]
	if active, _, _ := c.keys.Active(); slices.Contains(ids, active) {
		subject = "key/" + active
	}
	kind := fault.Unavailable
	if !slices.ContainsFunc(errs, func(err error) bool { return fault.KindOf(err) == fault.Unavailable }) {
		kind = fault.Corrupt // every key is here and none opens it
	}
	return secret.Bytes{}, fault.Newf(kind, "encryption.Fingerprint", subject,
		"no key is held that opens the index key, without which unique secrets are neither found nor written (any of: %s)", strings.Join(ids, ", "))
}

// changeIndex reads the record, lets change decide and writes what differs, again when another node was
// faster.
func (c *Cipher) changeIndex(ctx context.Context, change func(indexRecord, bool) (indexRecord, *index, error)) error {
	for range indexAttempts {
		text, found, err := c.store.Meta(ctx, metaIndex)
		if err != nil {
			return fmt.Errorf("reading the index key: %w", err)
		}
		var record indexRecord
		if found {
			if record, err = parseIndex(text); err != nil {
				return err
			}
		}
		next, index, err := change(record, found)
		if err != nil {
			return err
		}
		err = c.writeIndex(ctx, text, found, next)
		if fault.KindOf(err) == fault.Conflict {
			continue
		}
		if err != nil {
			return fmt.Errorf("writing the index key: %w", err)
		}
		c.index.Store(index)
		c.plaintext.Store(next.Migrating)
		return nil
	}
	return fault.New(fault.Conflict, "encryption.New", metaIndex, errors.New("other nodes keep changing it"))
}

func (c *Cipher) writeIndex(ctx context.Context, old string, found bool, next indexRecord) error {
	if next.Clear == "" && len(next.Sealed) == 0 {
		return nil
	}
	text, err := json.Marshal(next)
	if err != nil || (found && string(text) == old) {
		return err
	}
	if !found {
		return c.store.SwapMeta(ctx, metaIndex, nil, string(text))
	}
	return c.store.SwapMeta(ctx, metaIndex, &old, string(text))
}

func clearRecord(key secret.Bytes) (record indexRecord) {
	key.Reveal(func(data []byte) { record.Clear = base64.StdEncoding.EncodeToString(data) })
	return record
}

func parseIndex(text string) (record indexRecord, err error) {
	if json.Unmarshal([]byte(text), &record) != nil || (record.Clear == "") == (len(record.Sealed) == 0) {
		err = fault.Newf(fault.Corrupt, "encryption.New", metaIndex, "the stored index key is malformed")
	}
	return record, err
}

func newIndex(key secret.Bytes) *index {
	if key.Len() != indexSize {
		return nil
	}
	return &index{key: key, sum: verifier.NewFingerprinter(key)}
}

func randomKey() secret.Bytes {
	data := make([]byte, indexSize)
	rand.Read(data) // never fails: crypto/rand ends the process instead
	return secret.Take(data)
}

func decodeKey(text string) (secret.Bytes, error) {
	data, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(data) != indexSize {
		return secret.Bytes{}, fault.Newf(fault.Corrupt, "encryption.New", metaIndex, "the stored index key is malformed")
	}
	return secret.Take(data), nil
}
