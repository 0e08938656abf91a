package catalog

import (
	"context"

	"google.golang.org/protobuf/proto"

	schemav1 "github.com/keepgate/keepgate/proto/keepgate/schema/v1"
	"github.com/keepgate/keepgate/shared/schema"
	"github.com/keepgate/keepgate/shared/verifier"
)

// checkSuffix makes the name of the field that holds a password's keyed check.
const checkSuffix = "_check"

// passwordMode says what the password of a document is.
type passwordMode uint8

const (
	arePlain    passwordMode = iota // a password, whatever it looks like
	areHashes                       // a hash; anything else is refused
	onlyCompare                     // a password, of a dry run: a changed one is not hashed
)

// given tells which fields a document sets.
func given(doc schema.Document) func(field string) bool {
	return func(field string) bool { return doc[field] != nil }
}

// hashPasswords replaces each given password of m by its hash. One that is the same as before keeps the hash
// it had: its keyed check says so, and nothing is hashed.
func (c *Catalog) hashPasswords(ctx context.Context, e *schema.Entity, m, base proto.Message, given func(string) bool, mode passwordMode) error {
	for _, f := range e.Fields {
		if f.OneWay != schemav1.OneWay_ONE_WAY_PASSWORD || !given(f.Name) {
			continue
		}
		if mode == areHashes {
			if err := takeHash(e, m, base, f.Name); err != nil {
				return err
			}
			continue
		}
		password := text(m, f.Name)
		check, err := c.cipher.Check(e.Table, f.Name, e.ID(m), password)
		if err != nil {
			return err
		}
		switch {
		case base != nil && has(base, f.Name) && text(base, f.Name+checkSuffix) == check:
			copyField(m, base, f.Name)
		case mode == onlyCompare:
			clearField(m, f.Name)
		default:
			if err := c.hash(ctx, m, f.Name, password); err != nil {
				return err
			}
		}
		setText(m, f.Name+checkSuffix, check)
	}
	return nil
}

// slow reports whether hashPasswords will hash, so that it is worth a goroutine.
func (c *Catalog) slow(e *schema.Entity, m, base proto.Message, given func(string) bool, mode passwordMode) bool {
	for _, f := range e.Fields {
		if f.OneWay != schemav1.OneWay_ONE_WAY_PASSWORD || !given(f.Name) || mode != arePlain {
			continue
		}
		check, err := c.cipher.Check(e.Table, f.Name, e.ID(m), text(m, f.Name))
		if err == nil && (base == nil || text(base, f.Name+checkSuffix) != check) {
			return true
		}
	}
	return false
}

// hash takes one of the slots, since each hash takes 19 MiB for a while.
func (c *Catalog) hash(ctx context.Context, m proto.Message, field, password string) error {
	select {
	case c.hashing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.hashing }()
	setText(m, field, verifier.HashPassword([]byte(password)))
	return nil
}

// takeHash accepts a hash as it is. The check of the password, which nobody knows now, stays only with the
// very hash it was made with.
func takeHash(e *schema.Entity, m, base proto.Message, field string) error {
	hash := text(m, field)
	if _, err := verifier.ParseHash(hash); err != nil {
		return violation(field, "expected a password hash (argon2id, PBKDF2 or Kong's SHA-1), since _transform is false").fault("Apply", e.Table)
	}
	clearField(m, field+checkSuffix)
	if base != nil && text(base, field) == hash {
		copyField(m, base, field+checkSuffix)
	}
	return nil
}
