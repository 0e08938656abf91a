package encryption

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

// openIndex finds the index key with any key that is held.
func (c *Cipher) openIndex(record indexRecord, found bool) (secret.Bytes, error) {
	if known := c.index.Load(); known.known() && record.Clear == "" {
		return known.key, nil
	}
	if !found {
		return randomKey(), nil
	}
	if record.Clear != "" {
		return decodeKey(record.Clear)
	}
	providers := c.forced().providers()
	var errs []error
	lost := 0
	marks := slices.SortedFunc(maps.Keys(record.Sealed), cheapestFirst)
	for _, mark := range marks {
		opened, gone, err := openCopy(providers, record.Sealed[mark])
		if err == nil {
			return opened, nil
		}
		if gone {
			lost++
		}
		errs = append(errs, err)
	}
	if lost == len(marks) {
		return randomKey(), nil
	}
	return secret.Bytes{}, c.lostIndex(marks, errs)
}

// IndexCopy is the copy of the index key that rests under a mark, "" when there is none, and the place that it opens at.
func IndexCopy(ctx context.Context, store Store, mark string) (place aead.Place, text string, err error) {
	stored, found, err := store.Meta(ctx, metaIndex)
	if err != nil || !found {
		return indexPlace, "", err
	}
	record, err := parseIndex(stored)
	return indexPlace, record.Sealed[mark], err
}

// cheapestFirst leaves to the end what a plugin must be asked for.
func cheapestFirst(a, b string) int {
	asks := func(mark string) int { return cmp.Compare(strings.Index(mark, record.KMS1Prefix), -1) }
	return cmp.Or(cmp.Compare(asks(a), asks(b)), cmp.Compare(a, b))
}

// openCopy asks the providers whose form a copy has. Gone: its key was given up because nothing was sealed under it.
func openCopy(providers []Provider, text string) (opened secret.Bytes, gone bool, err error) {
	err = unread(indexPlace, text)
	for _, p := range providers {
		if p.Prefix() == "" || !reads(p, text) {
			continue
		}
		var plaintext string
		if plaintext, err = p.Open(indexPlace, text); err == nil && len(plaintext) == indexSize {
			return secret.Take([]byte(plaintext)), false, nil
		}
		if ring, ok := p.(*ringProvider); ok && fault.KindOf(err) == fault.Unavailable && ring.lost(record.MarkOf(text)) {
			gone = true
		}
	}
	return secret.Bytes{}, gone, err
}

// lostIndex says why no copy opens.
func (c *Cipher) lostIndex(marks []string, errs []error) error {
	subject := "key/" + keyName(marks[0])
	for _, chain := range c.chains.Load().all() {
		if active, _ := chain.writer().Mark(); slices.Contains(marks, active) {
			subject = "key/" + keyName(active)
		}
	}
	kind := fault.Unavailable
	if !slices.ContainsFunc(errs, func(err error) bool { return fault.KindOf(err) == fault.Unavailable }) {
		kind = fault.Corrupt // every key is here and none opens it
	}
	return fault.Newf(kind, "encryption.Fingerprint", subject,
		"no key is held that opens the index key, without which unique secrets are neither found nor written (any of: %s)", strings.Join(marks, ", "))
}

// keyName is how a fault names the key of a mark.
func keyName(mark string) string {
	if id := record.KeyOf(mark); id != "" {
		return id
	}
	return mark
}
