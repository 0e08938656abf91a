package encryption

import (
	"context"
	"encoding/hex"
	"maps"
	"slices"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/verifier"
)

// The index key makes fingerprints, so that the database can find a secret and keep it unique. It is made
// with the first key and does not change with those that seal: a copy rests sealed under every key of every
// ring in use and by every other provider that may write, and any one that survives opens it.

// index is what is known of the index key: its use, or why there is none.
type index struct {
	key    secret.Bytes
	sum    *verifier.Fingerprinter // nil: lost
	reason error
}

func newIndex(key secret.Bytes) *index {
	if key.Len() != indexSize {
		return nil
	}
	return &index{key: key, sum: verifier.NewFingerprinter(key)}
}

// known reports whether the index key is open.
func (i *index) known() bool { return i != nil && i.sum != nil }

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

// syncIndex opens the index key if it can and has it sealed under every key that is held. It makes one in a new
// database, and in one whose every key was lost before anything was sealed.
func (c *Cipher) syncIndex(ctx context.Context, admits admission) error {
	return c.changeIndex(ctx, func(record indexRecord, found bool) (indexRecord, *index, error) {
		clean, forced := false, c.forced()
		if admits != nil && found {
			var err error
			if clean, err = admits(record); err != nil {
				return record, nil, err
			}
		}
		key, err := c.openIndex(record, found)
		if err != nil {
			record.Migrating = record.Migrating || forced.clearing()
			return record, &index{reason: err}, nil
		}
		if forced.clear() && (record.Clear != "" || !forced.sealing()) { // as EndDecryption left it, or for ever
			return clearRecord(key), newIndex(key), nil
		}
		next := indexRecord{Sealed: maps.Clone(record.Sealed), Migrating: !clean && (record.Migrating || record.Clear != "") || forced.clearing()}
		if next.Sealed == nil {
			next.Sealed = map[string]string{}
		}
		err = c.sealIndex(key, next.Sealed)
		switch {
		case len(next.Sealed) > 0:
			return next, newIndex(key), nil
		case forced.clear():
			return clearRecord(key), newIndex(key), nil
		}
		if known := c.index.Load(); known.known() {
			return record, known, nil // as it rests until it can be kept otherwise
		}
		return record, &index{reason: err}, nil // nothing could be kept: it is made when a key is here
	})
}

// sealIndex adds the copies that are missing, and leaves out those that nothing opens any more. The error is why
// some provider made none.
func (c *Cipher) sealIndex(index secret.Bytes, copies map[string]string) (failed error) {
	var plaintext string
	index.Reveal(func(data []byte) { plaintext = string(data) })
	forced := c.forced()
	current := forced.providers()
	for i, p := range current {
		if slices.ContainsFunc(current[:i], func(before Provider) bool { return before.Prefix() == p.Prefix() }) {
			continue // another key of the same name: there is one copy for both
		}
		if unbound(p) && !slices.ContainsFunc(forced, func(chain *Chain) bool { return chain.writer() == p }) {
			continue // whoever copies it to a row could read it there
		}
		if err := copyFor(p, plaintext, copies); err != nil {
			failed = err
		}
	}
	for _, p := range current {
		if len(copies) == 0 {
			failed = copyFor(p, plaintext, copies)
		}
	}
	maps.DeleteFunc(copies, func(_, text string) bool { return retired(current, text) })
	return failed
}

// unbound reports whether what a provider seals opens at any place.
func unbound(p Provider) bool {
	s, ok := p.(*static)
	return ok && !s.box.Binds()
}

// retired reports whether a copy is of a provider that is no longer there, or under a key that is gone, while another
// one is of use.
func retired(providers []Provider, text string) bool {
	i := slices.IndexFunc(providers, func(p Provider) bool { return p.Prefix() != "" && reads(p, text) })
	if i < 0 {
		return true
	}
	ring, ok := providers[i].(*ringProvider)
	return ok && len(ring.keys.Held()) > 0 && ring.lost(record.MarkOf(text))
}

// copyFor has one provider seal the index key under each key that it holds.
func copyFor(p Provider, plaintext string, copies map[string]string) error {
	if ring, ok := p.(*ringProvider); ok {
		return ring.copies(plaintext, copies)
	}
	mark, err := p.Mark()
	if err != nil || mark == "" {
		return err
	}
	if text, ok := copies[mark]; ok && !outdated(p, text) {
		return nil
	}
	text, err := p.Seal(indexPlace, plaintext)
	if err == nil {
		copies[mark] = text
	}
	return err
}

// outdated reports whether a copy is under other material that had the name of a key before.
func outdated(p Provider, text string) bool {
	_, static := p.(*static)
	if !static {
		return false
	}
	plaintext, err := p.Open(indexPlace, text)
	return err != nil || len(plaintext) != indexSize
}

func (r *ringProvider) copies(plaintext string, copies map[string]string) error {
	held := r.keys.Held()
	for _, id := range held {
		mark := r.form.mark + id
		if _, ok := copies[mark]; ok {
			continue
		}
		key, err := r.keys.Key(id)
		if err != nil {
			return err
		}
		copies[mark] = r.form.seal(key, id, indexPlace, plaintext)
	}
	if len(held) == 0 {
		_, _, err := r.keys.Active()
		return err
	}
	return nil
}
