package relational

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

// headOf is the named value that holds a ring's head.
func headOf(ring string) string {
	if ring == "" {
		return "keyring_head"
	}
	return "keyring_head/" + ring
}

const keyColumns = "id, state, created_at, activated_at, check_value, recovery, wrapped, signature"

func keyArguments(key record.Key) []any {
	return []any{
		key.ID, key.State, key.CreatedAt, key.ActivatedAt,
		opaque(key.Check), opaque(key.Recovery), opaque(key.Wrapped), opaque(key.Signature),
	}
}

// opaque makes bytes never null, so that a comparison with what is stored needs no special case.
func opaque(data []byte) []byte {
	if data == nil {
		return []byte{}
	}
	return data
}

// Keyring reads a ring's head and all its key rows.
func (s *Store) Keyring(ctx context.Context, name string) (record.Keyring, error) {
	ctx, cancel := s.brief(ctx)
	defer cancel()
	// One transaction, so that the head is that of the rows.
	tx, err := s.begin(ctx, s.reader, s.dialect.BeginSnapshot)
	if err != nil {
		return record.Keyring{}, s.fault(ctx, "Keyring", "", err)
	}
	defer tx.end(ctx)
	var ring record.Keyring
	var head string
	row := tx.conn.QueryRowContext(ctx, s.dialect.text("SELECT value FROM "+s.dialect.table("meta")+" WHERE name = ?"), headOf(name))
	switch err := row.Scan(&head); {
	case err == nil:
		ring.Head = &head
	case !errors.Is(err, sql.ErrNoRows):
		return record.Keyring{}, s.fault(ctx, "Keyring", "", err)
	}
	result, err := tx.query(ctx, "SELECT "+keyColumns+" FROM "+s.dialect.table("keyring_keys")+" WHERE ring = ? ORDER BY created_at, id", name)
	if err != nil {
		return record.Keyring{}, s.fault(ctx, "Keyring", "", err)
	}
	if ring.Keys, err = scanKeys(result); err != nil {
		return record.Keyring{}, s.fault(ctx, "Keyring", "", err)
	}
	return ring, nil
}

func scanKeys(result *sql.Rows) ([]record.Key, error) {
	defer result.Close()
	var keys []record.Key
	for result.Next() {
		var k record.Key
		err := result.Scan(&k.ID, &k.State, &k.CreatedAt, &k.ActivatedAt, &k.Check, &k.Recovery, &k.Wrapped, &k.Signature)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, result.Err()
}

// ChangeKeyring writes key rows and the ring's next head, if the head is still old.
func (s *Store) ChangeKeyring(ctx context.Context, ring string, old *string, head string, keys []record.Key) error {
	keys = slices.SortedFunc(slices.Values(keys), func(a, b record.Key) int { return cmp.Compare(a.ID, b.ID) })
	if err := s.checkKeyring(ring, head, keys); err != nil {
		return err
	}
	ctx, cancel := s.brief(ctx)
	defer cancel()
	committing, err := s.changeKeyring(ctx, ring, old, head, keys)
	if err == nil {
		return nil
	}
	err = s.fault(ctx, "ChangeKeyring", "keyring/head", err)
	if committing && fault.KindOf(err) == fault.Unavailable && s.keyringIs(ctx, ring, head) {
		return nil
	}
	return err
}

func (s *Store) checkKeyring(ring, head string, keys []record.Key) error {
	if err := s.clean("ChangeKeyring", "keyring/head", ring, head); err != nil {
		return err
	}
	for i, key := range keys {
		if key.ID == "" || i > 0 && keys[i-1].ID == key.ID {
			return s.invalid("ChangeKeyring", "keyring_keys/"+key.ID, "a key needs an id, and is written once in a change")
		}
		if err := s.clean("ChangeKeyring", "keyring_keys/"+key.ID, key.ID, key.State); err != nil {
			return err
		}
	}
	return nil
}

// changeKeyring takes the head first: who holds it is alone with the rows.
func (s *Store) changeKeyring(ctx context.Context, ring string, old *string, head string, keys []record.Key) (committing bool, err error) {
	tx, err := s.begin(ctx, s.writer, s.dialect.Begin(s.timeout))
	if err != nil {
		return false, err
	}
	defer tx.end(ctx)
	meta := s.dialect.table("meta")
	statement, arguments := "INSERT INTO "+meta+" (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", []any{headOf(ring), head}
	if old != nil {
		statement, arguments = "UPDATE "+meta+" SET value = ? WHERE name = ? AND value = ?", []any{head, headOf(ring), *old}
	}
	changed, err := tx.exec(ctx, statement, arguments...)
	if err != nil {
		return false, fmt.Errorf("writing the head: %w", err)
	}
	if changed != 1 {
		return false, fault.Newf(fault.Conflict, s.dialect.Name+".ChangeKeyring", "keyring/head", "the ring was changed meanwhile")
	}
	table := s.dialect.table("keyring_keys")
	upsert := "INSERT INTO " + table + " (ring, " + keyColumns + ") VALUES " + marks(9) +
		" ON CONFLICT (id) DO UPDATE SET ring = excluded.ring, state = excluded.state, created_at = excluded.created_at, activated_at = excluded.activated_at," +
		" check_value = excluded.check_value, recovery = excluded.recovery, wrapped = excluded.wrapped, signature = excluded.signature" +
		" WHERE " + table + ".ring = excluded.ring OR " + table + ".check_value = excluded.check_value"
	for _, key := range keys {
		changed, err := tx.exec(ctx, upsert, append([]any{ring}, keyArguments(key)...)...)
		if err != nil {
			return false, fmt.Errorf("writing key %s: %w", key.ID, err)
		}
		if changed != 1 {
			return false, fault.Newf(fault.Denied, s.dialect.Name+".ChangeKeyring", "key/"+key.ID, "another ring of this database has a key of this id")
		}
	}
	return true, tx.commit(ctx)
}

// keyringIs says whether a change whose commit got no answer came through. A transaction that may still
// hold the head is waited for, by a write that is never committed.
func (s *Store) keyringIs(ctx context.Context, ring, head string) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
	defer cancel()
	tx, err := s.begin(ctx, s.writer, s.dialect.Begin(s.timeout))
	if err != nil {
		return false
	}
	defer tx.end(ctx)
	meta := s.dialect.table("meta")
	var stored string
	row := tx.conn.QueryRowContext(ctx, s.dialect.text("INSERT INTO "+meta+" (name, value) VALUES (?, '')"+
		" ON CONFLICT (name) DO UPDATE SET value = "+meta+".value RETURNING value"), headOf(ring))
	return row.Scan(&stored) == nil && stored == head
}
