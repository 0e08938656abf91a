package keyringtest

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

// Store is a keyring's part of a database, in memory. Its zero value is empty.
type Store struct {
	mu   sync.Mutex
	head *string               // guarded by mu
	keys map[string]record.Key // guarded by mu
	down bool                  // guarded by mu
}

var errDown = fault.Newf(fault.Unavailable, "keyringtest", "", "the database is away")

// Keyring reads all.
func (s *Store) Keyring(context.Context) (record.Keyring, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return record.Keyring{}, errDown
	}
	return s.read(), nil
}

func (s *Store) read() record.Keyring {
	return record.Keyring{Head: s.head, Keys: slices.SortedFunc(maps.Values(s.keys), func(a, b record.Key) int {
		return cmp.Or(cmp.Compare(a.CreatedAt, b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})}
}

// ChangeKeyring writes over the head old.
func (s *Store) ChangeKeyring(_ context.Context, old *string, head string, keys []record.Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.down:
		return errDown
	case (old == nil) != (s.head == nil) || (old != nil && *old != *s.head):
		return fault.Newf(fault.Conflict, "keyringtest.ChangeKeyring", "keyring/head", "another head is stored")
	}
	s.head = &head
	if s.keys == nil {
		s.keys = map[string]record.Key{}
	}
	for _, key := range keys {
		s.keys[key.ID] = key
	}
	return nil
}

// Stored returns what the database holds, for a backup or a look.
func (s *Store) Stored() record.Keyring {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.read()
}

// Replace puts kr in the place of all that is stored, as a restoration does, or somebody who may write
// the database.
func (s *Store) Replace(kr record.Keyring) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.head, s.keys = kr.Head, map[string]record.Key{}
	for _, key := range kr.Keys {
		s.keys[key.ID] = key
	}
}

// Down makes the database fail with fault.Unavailable, or answer again.
func (s *Store) Down(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}
