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

// given tells which fields a document sets.
func given(doc schema.Document) func(field string) bool {
	return func(field string) bool { return doc[field] != nil }
}

// hashPasswords replaces each password of m by its hash. One that is the same as before keeps the hash it
// had: its keyed check says so, and nothing is hashed. Where the values are hashes already (transformed),
// they are taken as they are, and anything else is refused.
func (c *Catalog) hashPasswords(ctx context.Context, e *schema.Entity, m, base proto.Message, given func(string) bool, transformed bool) error {
	for _, f := range e.Fields {
		if f.OneWay != schemav1.OneWay_ONE_WAY_PASSWORD || !given(f.Name) {
			continue
		}
		if transformed {
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
		if base != nil && has(base, f.Name) && text(base, f.Name+checkSuffix) == check {
			copyField(m, base, f.Name)
		} else if err := c.hash(ctx, m, f.Name, password); err != nil {
			return err
		}
		setText(m, f.Name+checkSuffix, check)
	}
	return nil
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
