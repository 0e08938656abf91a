package app

import (
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/aead"
)

// counting counts what the catalog seals and opens, by table and provider.
type counting struct {
	*encryption.Cipher
	operations *operations
}

// Seal seals by the cipher.
func (c counting) Seal(p aead.Place, plaintext string) (string, error) {
	text, err := c.Cipher.Seal(p, plaintext)
	c.operations.count(p.Table, "to_storage", text, err)
	return text, err
}

// Open opens by the cipher.
func (c counting) Open(p aead.Place, text string) (plaintext string, stale bool, err error) {
	plaintext, stale, err = c.Cipher.Open(p, text)
	c.operations.count(p.Table, "from_storage", text, err)
	return plaintext, stale, err
}

// operations keeps the counter of each kind of operation, so that finding it costs little beside sealing.
type operations struct {
	counter func(table, direction, prefix, status string) prometheus.Counter

	mu     sync.RWMutex
	byKind map[operation]prometheus.Counter // guarded by mu
}

type operation struct {
	table, direction, writer string
	failed                   bool
}

func (v *providers) operations() *operations {
	return &operations{counter: v.metrics.Operation, byKind: map[operation]prometheus.Counter{}}
}

func (o *operations) count(table, direction, text string, err error) {
	mark := record.MarkOf(text)
	writer := strings.TrimSuffix(mark, record.KeyOf(mark)) // without the key, of which there may be many
	if writer == "" && mark != "" {
		writer = record.KeyringPrefix
	}
	kind := operation{table, direction, writer, err != nil}
	o.mu.RLock()
	counter := o.byKind[kind]
	o.mu.RUnlock()
	if counter == nil {
		counter = o.add(kind, mark)
	}
	counter.Inc()
}

func (o *operations) add(kind operation, mark string) prometheus.Counter {
	prefix, status := record.PrefixOf(mark), "OK"
	switch {
	case prefix == "" && kind.failed && kind.direction == "to_storage":
		prefix = "unknown"
	case prefix == "":
		prefix = "identity"
	}
	if kind.failed {
		status = "error"
	}
	counter := o.counter(kind.table, kind.direction, prefix, status)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.byKind[kind] = counter
	return counter
}
