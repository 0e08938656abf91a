package encryption

import (
	"maps"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/controlplane/record"
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
	marks := slices.Sorted(maps.Keys(record.Sealed))
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
