package keyring

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
)

// States of a key row.
const (
	StateUsable      = record.KeyUsable // seals when active, opens always
	StateDeactivated = "deactivated"    // by an operator: seals no more, opens still
	StateLost        = "lost"           // its material was forgotten before anything was sealed under it
	StateRemoved     = "removed"        // by an operator, material and all; the id stays taken
)

// state is everything the ring knows, immutable.
type state struct {
	keys []*entry // oldest first
	byID map[string]*entry
	head head // that the ring follows; zero: none

	text     *string // the stored head
	above    uint64  // no head was seen that counts higher
	refused  string  // why the stored head is not followed
	named    bool    // head only names the active key: its proof could not be checked yet
	restored bool    // the stored head is older than head
	other    string  // which key that older head makes active
	stale    bool    // the stored head's proof is to be made anew
	waits    bool    // the active key is there to be opened, and was not activated among the nodes that live
}

// entry is what the ring knows of one key, immutable.
type entry struct {
	row     record.Key  // what the ring goes by; of a key that is not trusted, what is stored
	stored  *record.Key // nil: the row vanished
	trusted bool        // row was proven
	refused string      // why what is stored is not believed
	stale   bool        // the stored proof is to be made anew
	held    *held       // nil: missing
	reason  string      // why it is missing
}

func (s *state) add(e *entry) {
	s.keys = append(s.keys, e)
	s.byID[e.row.ID] = e
}

func (s *state) key(id string) (*aead.Key, error) {
	e, ok := s.byID[id]
	switch {
	case !ok:
		return nil, fault.Newf(fault.Unavailable, "keyring.Key", subject(id), "this keyring does not know the key")
	case e.held == nil && e.reason == "" && !e.trusted:
		return nil, fault.New(fault.Unavailable, "keyring.Key", subject(id), errors.New("its row is refused: "+e.refused))
	case e.held == nil:
		return nil, fault.New(fault.Unavailable, "keyring.Key", subject(id), errors.New("material missing: "+e.reason))
	}
	return e.held.key, nil
}

func (s *state) heldIDs() (ids []string) {
	for _, e := range s.keys {
		if e.held != nil {
			ids = append(ids, e.row.ID)
		}
	}
	return ids
}

// follows: text is the head that the ring follows.
func (s *state) follows(text *string) bool {
	return s.text != nil && text != nil && *s.text == *text && s.refused == "" && !s.restored
}

// ready: the active key is held.
func (s *state) ready() bool {
	e, ok := s.byID[s.head.Active]
	return ok && e.held != nil
}

// usable: it may be the active key.
func (e *entry) usable() bool { return e.trusted && e.row.State == StateUsable }

// opens: values may be sealed under the key.
func (e *entry) opens() bool {
	return e.trusted && (e.row.State == StateUsable || e.row.State == StateDeactivated)
}

// wanted are the keys that other nodes may have.
func (s *state) wanted() (ids []string) {
	for _, e := range s.keys {
		if e.held == nil && e.opens() {
			ids = append(ids, e.row.ID)
		}
	}
	return ids
}

// unwritten are the rows that the database ought to have otherwise. Under a head that is not followed
// there are none: who wrote that head may know better.
func (s *state) unwritten() (rows []record.Key) {
	if s.refused != "" {
		return nil
	}
	for _, e := range s.keys {
		if e.held != nil && e.row.State == StateLost { // it was not lost, only slow to say so
			row := e.row
			row.State = StateUsable
			rows = append(rows, row)
		} else if e.trusted && (e.stored == nil || e.stale || e.refused != "" || !sameRow(e.row, *e.stored)) {
			rows = append(rows, e.row)
		}
	}
	return rows
}

// last is the key that was activated last among those that use picks, "" when there is none.
func (s *state) last(use func(e *entry) bool) string {
	var found *entry
	for _, e := range s.keys {
		if use(e) && (found == nil || !activatedBefore(e.row, found.row)) {
			found = e
		}
	}
	if found == nil {
		return ""
	}
	return found.row.ID
}

func activatedBefore(a, b record.Key) bool {
	if a.ActivatedAt != b.ActivatedAt {
		return a.ActivatedAt < b.ActivatedAt
	}
	return a.CreatedAt < b.CreatedAt
}

// mark changes whenever other nodes or followers ought to know.
func (s *state) mark() string {
	return strconv.FormatUint(s.head.Sequence, 10) + s.head.Active + s.refused + "|" +
		strings.Join(s.wanted(), ",") + "|" + strings.Join(s.heldIDs(), ",")
}

// sameFields compares what a proof covers.
func sameFields(a, b record.Key) bool {
	return a.ID == b.ID && a.State == b.State && a.CreatedAt == b.CreatedAt && a.ActivatedAt == b.ActivatedAt &&
		bytes.Equal(a.Check, b.Check) && bytes.Equal(a.Recovery, b.Recovery) && bytes.Equal(a.Wrapped, b.Wrapped)
}

func sameRow(a, b record.Key) bool { return sameFields(a, b) && bytes.Equal(a.Signature, b.Signature) }

// tombstone: the row only keeps its id taken.
func tombstone(row record.Key) bool { return row.State == StateLost || row.State == StateRemoved }

// keyring is what the database holds as far as the state knows.
func (s *state) keyring() (kr record.Keyring) {
	kr.Head = s.text
	for _, e := range s.keys {
		if e.stored != nil {
			kr.Keys = append(kr.Keys, *e.stored)
		}
	}
	return kr
}

func names(members []Member) string {
	list := make([]string, 0, len(members))
	for _, m := range members {
		list = append(list, strings.TrimSpace(m.Name+" ("+m.Node+")"))
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}
