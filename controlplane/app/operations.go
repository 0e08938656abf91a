package app

import (
	"strings"
	"sync"
	"time"

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
	began := time.Now()
	text, err := c.Cipher.Seal(p, plaintext)
	c.operations.count(p.Table, "to_storage", record.MarkOf(text), err, time.Since(began))
	return text, err
}

// Open opens by the cipher.
func (c counting) Open(p aead.Place, text string) (plaintext string, stale bool, err error) {
	began := time.Now()
	plaintext, stale, err = c.Cipher.Open(p, text)
	took := time.Since(began)
	mark := record.MarkOf(text)
	if err != nil && !c.Readable(p.Table, mark) {
		mark = unknownMark // how it begins is the word of whoever wrote it there, of which there may be any number
	}
	c.operations.count(p.Table, "from_storage", mark, err, took)
	return plaintext, stale, err
}

// operations keeps what counts each kind of operation, so that finding it costs little beside sealing.
type operations struct {
	counter func(table, direction, prefix string, failed bool) (prometheus.Counter, prometheus.Observer)

	mu     sync.RWMutex
	byKind map[operation]counted // guarded by mu
}

type counted struct {
	number prometheus.Counter
	took   prometheus.Observer // nil: nobody asks
}

type operation struct {
	table, direction, writer string
	failed                   bool
}

func (v *providers) operations() *operations {
	return &operations{counter: v.metrics.Operation, byKind: map[operation]counted{}}
}

// unknownMark stands for those that no provider of the table reads.
const unknownMark = "unknown"

func (o *operations) count(table, direction, mark string, err error, took time.Duration) {
	writer := strings.TrimSuffix(mark, record.KeyOf(mark)) // without the key, of which there may be many
	if writer == "" && mark != "" {
		writer = record.KeyringPrefix
	}
	kind := operation{table, direction, writer, err != nil}
	o.mu.RLock()
	by, known := o.byKind[kind]
	o.mu.RUnlock()
	if !known {
		by = o.add(kind, mark)
	}
	by.number.Inc()
	if by.took != nil {
		by.took.Observe(took.Seconds())
	}
}

func (o *operations) add(kind operation, mark string) counted {
	prefix := record.PrefixOf(mark)
	switch {
	case mark == unknownMark, prefix == "" && kind.failed && kind.direction == "to_storage":
		prefix = "unknown"
	case prefix == "":
		prefix = "identity"
	}
	number, took := o.counter(kind.table, kind.direction, prefix, kind.failed)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.byKind[kind] = counted{number, took}
	return o.byKind[kind]
}
