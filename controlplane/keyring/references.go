package keyring

import (
	"context"
	"slices"

	"github.com/keepgate/keepgate/controlplane/record"
)

// Counter is the part of the database that [CountSealed] reads.
type Counter interface {
	CountSealed(ctx context.Context) ([]record.SealedCount, error)
}

// CountSealed counts the rows that hold a value sealed under a key of any ring, or under any key of the keyring itself
// when keyID is "", by table and mark. disposable names tables whose sealed values can be made anew and so do not count.
func CountSealed(ctx context.Context, store Counter, keyID string, disposable ...string) (counts []record.SealedCount, err error) {
	all, err := store.CountSealed(ctx)
	if err != nil {
		return nil, err
	}
	for _, count := range all {
		id := record.KeyOf(count.Key)
		if id != "" && (id == keyID || keyID == "" && count.Key == id) && !slices.Contains(disposable, count.Table) {
			counts = append(counts, count)
		}
	}
	return counts, nil
}

// Total adds up counts.
func Total(counts []record.SealedCount) (rows int) {
	for _, count := range counts {
		rows += count.Rows
	}
	return rows
}
