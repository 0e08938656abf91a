package keyring

import (
	"bytes"
	"context"
	"iter"
	"strings"

	"github.com/keepgate/keepgate/controlplane/record"
)

// sealedPrefix begins every sealed value (shared/aead); the key's id follows, and a "-".
const sealedPrefix = "$ke$1$-"

// Snapshots is the part of the database that [CountSealed] reads.
type Snapshots interface {
	Snapshot(ctx context.Context, read func(revision uint64, rows iter.Seq2[record.Row, error]) error) error
}

// CountSealed counts the rows that hold a value sealed under the key, or under any key when keyID is "".
// disposable names tables whose sealed values can be made anew and so do not count.
func CountSealed(ctx context.Context, store Snapshots, keyID string, disposable ...string) (count int, err error) {
	mark := sealedPrefix
	if keyID != "" {
		mark += keyID + "-"
	}
	skip := make(map[string]bool, len(disposable))
	for _, table := range disposable {
		skip[table] = true
	}
	err = store.Snapshot(ctx, func(_ uint64, rows iter.Seq2[record.Row, error]) error {
		count = 0
		for row, err := range rows {
			if err != nil {
				return err
			}
			if !skip[row.Table] && holds(row, mark) {
				count++
			}
		}
		return nil
	})
	return count, err
}

// holds looks for the mark in the text of the row. A name that imitates it counts as well, which errs on
// the safe side.
func holds(row record.Row, mark string) bool {
	for _, text := range row.Sealed {
		if strings.HasPrefix(text, mark) {
			return true
		}
	}
	return bytes.Contains(row.Body, []byte(mark))
}
