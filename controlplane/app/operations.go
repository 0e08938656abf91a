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
	c.operations.count(p.Table, "to_storage", record.MarkOf(text), err)
	return text, err
}

// Open opens by the cipher.
func (c counting) Open(p aead.Place, text string) (plaintext string, stale bool, err error) {
	plaintext, stale, err = c.Cipher.Open(p, text)
	mark := record.MarkOf(text)
	if err != nil && !c.Readable(p.Table, mark) {
		mark = unknownMark // how it begins is the word of whoever wrote it there, of which there may be any number
	}
	c.operations.count(p.Table, "from_storage", mark, err)
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

// unknownMark stands for those that no provider of the table reads.
const unknownMark = "unknown"

func (o *operations) count(table, direction, mark string, err error) {
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
	case mark == unknownMark, prefix == "" && kind.failed && kind.direction == "to_storage":
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
