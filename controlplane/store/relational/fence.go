package relational

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/layout"
	"github.com/keepgate/keepgate/shared/fault"
)

// fence refuses values under a key that seals no more, and holds the key's row until the transaction ends. Between
// sealing and commit a writer may have waited for long: who takes a key out of use waits for those who came through
// here, and afterwards nobody does, so that what is counted then is all that will ever be under the key. Keys that
// have no row are not this database's to judge.
func (s *Store) fence(ctx context.Context, tx *transaction, method string, keys map[string]bool) error {
	// In the order in which a change of the ring takes them.
	for chunk := range slices.Chunk(slices.Sorted(maps.Keys(keys)), maxParameters) {
		arguments := make([]any, len(chunk))
		for i, id := range chunk {
			arguments[i] = id
		}
		result, err := tx.query(ctx, "SELECT id, state FROM "+s.dialect.table("keyring_keys")+" WHERE id IN "+marks(len(chunk))+
			" ORDER BY id"+s.dialect.LockShared, arguments...)
		if err != nil {
			return fmt.Errorf("reading what keys seal: %w", err)
		}
		ended, err := notUsable(result)
		if err != nil {
			return fmt.Errorf("reading what keys seal: %w", err)
		}
		if ended != "" {
			return fault.Newf(fault.Conflict, s.dialect.Name+"."+method, "key/"+ended, "the key was taken out of use after a value was sealed under it")
		}
	}
	return nil
}

func notUsable(result *sql.Rows) (ended string, err error) {
	defer result.Close()
	for result.Next() {
		var id, state string
		if err := result.Scan(&id, &state); err != nil {
			return "", err
		}
		if state != record.KeyUsable && ended == "" {
			ended = id
		}
	}
	return ended, result.Err()
}

// sealedUnder adds the rings' keys of what is written into one row of a table.
func sealedUnder(t *layout.Table, sealed map[string]string, body []byte, found map[string]bool) {
	marks := map[string]bool{}
	for _, text := range sealed {
		marks[record.MarkOf(text)] = true
	}
	if t.Nested {
		bodyMarks(body, marks)
	}
	for mark := range marks {
		if id := record.KeyOf(mark); id != "" {
			found[id] = true
		}
	}
}

// keys are those of everything that the plan writes.
func (p plan) keys() map[string]bool {
	found := map[string]bool{}
	for _, g := range p.groups {
		for _, change := range g.changes {
			if !change.Delete {
				sealedUnder(g.table, change.Row.Sealed, change.Row.Body, found)
			}
		}
	}
	return found
}
