package localstore

import (
	"errors"
	"io"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/localkeys"
)

// Entry is one entity as the data plane holds it.
type Entry struct {
	Kind, ID string
	Class    localkeys.Class // which key seals it
	Scope    string          // the environment whose key seals it; "" for the installation
	Bytes    []byte
}

// Ref names an entry.
type Ref struct{ Kind, ID string }

// State is a whole configuration. The store computes no hash: it keeps the one it was given.
type State struct {
	Epoch, Version uint64
	Hash           [32]byte
	// Entries come in any order, each Ref once, and may be ranged over more than once. Of a state that is given to
	// Replace, Bytes need to last only until the next one.
	Entries iter.Seq[Entry]
}

// Change leads from the state before to that of its own epoch, version and hash. Deletes come first.
type Change struct {
	Epoch, Version uint64
	Hash           [32]byte
	Puts           []Entry
	Deletes        []Ref
}

// Keys makes and opens the data keys that files are sealed with; *localkeys.Ring is one.
type Keys interface {
	// NewDataKey returns a random key for a section of a file, and what OpenDataKey needs to find it again.
	NewDataKey(suite aead.Suite, section localkeys.Section, file string) (key *aead.Key, wrapped []byte, err error)
	// OpenDataKey opens a wrapped key; stale asks for the file to be written again. It fails with
	// fault.Unavailable when this node does not hold the key that wrapped it.
	OpenDataKey(suite aead.Suite, section localkeys.Section, file string, wrapped []byte) (key *aead.Key, stale bool, err error)
}

// Options says what a store is. Mode and Node have no default; Keys may be missing when Mode is off.
type Options struct {
	Mode   Mode
	Keys   Keys
	Holder Holder            // gives Keys, in place of a fixed set, to what is sealed; optional
	Node   string            // who this node is; bound into all that is sealed
	Verify func(State) error // does the state have the hash it claims? optional
	// RefuseClear has Open refuse a store that holds anything in clear, with fault.Denied, unless Mode is Off.
	RefuseClear bool
	Log         *slog.Logger // default: discard
	FS          durable.FS   // default: the real disk
}

// Store is the open store of one data plane. It is safe for concurrent use.
type Store struct {
	dir     string
	options Options
	lock    *os.File

	mu      sync.Mutex
	current *generation // nil until there is a snapshot to append to; guarded by mu
	standby uint64      // the generation before, kept in case the current one is damaged; 0: none; guarded by mu
	last    uint64      // the highest generation number ever given; guarded by mu
	report  Report      // guarded by mu
	erased  bool        // guarded by mu

	wasSealed bool     // all that could be told at Open from the headers of files; guarded by mu
	sealed    []string // files that none of the keys opens, in place until there is a new snapshot; guarded by mu
}

// generation is a snapshot that is being appended to.
type generation struct {
	number       uint64
	snapshotSize int64
	log          *durable.Log
	journal      *journalWriter
}

// Open opens the store in dir, makes the folder where it is missing, and returns the newest whole state.
//
// Damage and missing keys are no errors: see [Store.Report]. What is damaged, in another mode than
// asked for, or sealed under a previous key is written again before Open returns. It fails with
// fault.Conflict when another process has the store, fault.Unavailable when the disk cannot be used, fault.Denied for
// what is in clear and must not be, fault.Invalid for wrong options, and as the [Holder] does.
func Open(dir string, options Options) (*Store, State, error) {
	options, err := options.checked()
	if err != nil {
		return nil, State{}, err
	}
	lock, err := lockFolder(dir, options.FS)
	if err != nil {
		return nil, State{}, err
	}
	s := &Store{dir: dir, options: options, lock: lock}
	state, err := s.open()
	if err != nil {
		return nil, State{}, errors.Join(err, s.Close())
	}
	return s, state, nil
}

func (s *Store) open() (State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.lookForClear(); err != nil {
		return State{}, err
	}
	if err := s.hold(); err != nil {
		return State{}, err
	}
	return s.recover()
}

func (o Options) checked() (Options, error) {
	if _, err := ParseMode(string(o.Mode)); err != nil {
		return o, err
	}
	if o.Mode != Off && o.Keys == nil && o.Holder == nil {
		return o, fault.Newf(fault.Invalid, "localstore.Open", string(o.Mode), "this mode needs keys")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.FS == nil {
		o.FS = durable.Disk{}
	}
	return o, nil
}

// Replace makes state the newest. When it returns nil, state is durable; the state before is kept beside
// it until the next Replace.
func (s *Store) Replace(state State) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.replace(state)
}

func (s *Store) replace(state State) error {
	if s.lock == nil {
		return fault.Newf(fault.Unavailable, "localstore.Replace", s.dir, "the store is closed")
	}
	if s.erased {
		return fault.Newf(fault.Unavailable, "localstore.Replace", s.dir, "the store was erased")
	}
	if err := s.keepFolder(); err != nil {
		return err
	}
	s.last++
	next, err := s.write(s.last, state)
	if err != nil {
		s.retract(s.last)
		return err
	}
	if s.current != nil {
		s.standby = s.current.number
		s.current.log.Close() // what it acknowledged is down
	}
	s.current = next
	s.report.hold(next.number, state.Epoch, state.Version)
	s.prune()
	return nil
}

// write makes a generation: first its empty journal, then the snapshot, so that a snapshot without a
// journal has lost one.
func (s *Store) write(number uint64, state State) (*generation, error) {
	snapshot := newFileID()
	journal, header := newJournal(s.options, number, snapshot)
	err := durable.ReplaceOn(s.options.FS, s.path(journalName(number)), fileMode, func(w io.Writer) error {
		_, err := w.Write(header)
		return err
	})
	if err != nil {
		return nil, err
	}
	size, err := writeSnapshot(s.path(snapshotName(number)), s.options, number, snapshot, state)
	if err != nil {
		return nil, err
	}
	log, err := durable.OpenLogOn(s.options.FS, s.path(journalName(number)), fileMode, int64(len(header)))
	if err != nil {
		return nil, err
	}
	return &generation{number, size, log, journal}, nil
}

// retract takes back a generation that could not be finished. When its snapshot may have got its name
// already and cannot be removed for certain, it could be the newest after a crash; what is appended to
// the one before would be lost then, so nothing more is appended.
func (s *Store) retract(number uint64) {
	path := s.path(snapshotName(number))
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		err := errors.Join(s.options.FS.Remove(path), s.options.FS.SyncDir(s.dir))
		if err != nil && s.current != nil {
			s.options.Log.Error("local store takes no changes until a whole snapshot is written", "error", err)
			s.standby = s.current.number
			s.current.log.Close() // what it acknowledged is down
			s.current = nil
		}
	}
	s.options.FS.Remove(s.path(journalName(number))) // the next Open removes it
}

// Append makes a change durable. It fails with fault.Unavailable when there is no snapshot to change, or
// when the disk fails; then every later Append fails too, until a Replace succeeds.
func (s *Store) Append(change Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return fault.Newf(fault.Unavailable, "localstore.Append", s.dir, "there is no snapshot to change")
	}
	if name := s.path(journalName(s.current.number)); !exists(name) {
		return fault.Newf(fault.Unavailable, "localstore.Append", name, "the journal was removed")
	}
	frame, commit, err := s.current.journal.frame(change)
	if err != nil {
		return fault.New(fault.KindOf(err), "localstore.Append", s.dir, err)
	}
	if err := s.current.log.Append(frame); err != nil {
		return err
	}
	commit()
	s.report.hold(s.current.number, change.Epoch, change.Version)
	return nil
}

// minFold keeps a small snapshot from being written again every few changes.
const minFold = 4 << 20

// Due reports whether the journal has outgrown the snapshot: a Replace with the whole state is due. The
// store does not do it by itself, since it holds no entries.
func (s *Store) Due() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current != nil && s.current.journal.size > max(minFold, s.current.snapshotSize)
}

// Close releases the folder. It is safe to call twice.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if s.current != nil {
		err = s.current.log.Close()
		s.current = nil
	}
	if s.lock != nil {
		err = errors.Join(err, unlock(s.lock))
		s.lock = nil
	}
	return err
}

func (s *Store) path(name string) string { return filepath.Join(s.dir, name) }
