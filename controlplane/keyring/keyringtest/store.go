package keyringtest

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

// Store is the keyrings' part of a database, in memory. Its zero value is empty.
type Store struct {
	mu    sync.Mutex
	heads map[string]*string // by ring; guarded by mu
	keys  map[string]stored  // by id; guarded by mu
	down  bool               // guarded by mu
}

type stored struct {
	record.Key
	ring string
}

var errDown = fault.Newf(fault.Unavailable, "keyringtest", "", "the database is away")

// Keyring reads all of a ring.
func (s *Store) Keyring(_ context.Context, ring string) (record.Keyring, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return record.Keyring{}, errDown
	}
	return s.read(ring), nil
}

func (s *Store) read(ring string) record.Keyring {
	kr := record.Keyring{Head: s.heads[ring]}
	for key := range maps.Values(s.keys) {
		if key.ring == ring {
			kr.Keys = append(kr.Keys, key.Key)
		}
	}
	slices.SortFunc(kr.Keys, func(a, b record.Key) int {
		return cmp.Or(cmp.Compare(a.CreatedAt, b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return kr
}

// ChangeKeyring writes over the head old.
func (s *Store) ChangeKeyring(_ context.Context, ring string, old *string, head string, keys []record.Key) error {
	const op = "keyringtest.ChangeKeyring"
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.heads[ring]
	switch {
	case s.down:
		return errDown
	case (old == nil) != (known == nil) || (old != nil && *old != *known):
		return fault.Newf(fault.Conflict, op, "keyring/head", "another head is stored")
	}
	for _, key := range keys {
		if other, ok := s.keys[key.ID]; ok && other.ring != ring && !bytes.Equal(other.Check, key.Check) {
			return fault.Newf(fault.Denied, op, "key/"+key.ID, "another ring has it")
		}
	}
	s.put(ring, &head, keys)
	return nil
}

func (s *Store) put(ring string, head *string, keys []record.Key) {
	if s.heads == nil {
		s.heads, s.keys = map[string]*string{}, map[string]stored{}
	}
	s.heads[ring] = head
	for _, key := range keys {
		s.keys[key.ID] = stored{key, ring}
	}
}

// Stored returns what the database holds of the keyring, for a backup or a look.
func (s *Store) Stored() record.Keyring { return s.StoredOf("") }

// StoredOf returns what the database holds of a ring.
func (s *Store) StoredOf(ring string) record.Keyring {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.read(ring)
}

// Replace puts kr in the place of all that is stored of the keyring, as a restoration does, or somebody who
// may write the database.
func (s *Store) Replace(kr record.Keyring) { s.ReplaceOf("", kr) }

// ReplaceOf puts kr in the place of all that is stored of a ring.
func (s *Store) ReplaceOf(ring string, kr record.Keyring) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.keys, func(_ string, key stored) bool { return key.ring == ring })
	s.put(ring, kr.Head, kr.Keys)
}

// Down makes the database fail with fault.Unavailable, or answer again.
func (s *Store) Down(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}
