package localstore

import (
	"errors"
	"fmt"
	"slices"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/localkeys"
)

// Status is what Open found.
type Status uint8

const (
	Fresh      Status = iota // an empty folder
	Whole                    // all that was ever acknowledged
	Recovered                // something was damaged: the state may be older than the last acknowledged one
	Unopenable               // nothing could be opened and the state is empty; the files are set aside, those that only lack a key at the next Replace
)

var statusNames = [...]string{Fresh: "fresh", Whole: "whole", Recovered: "recovered", Unopenable: "unopenable"}

// String returns the lower-case name of the status.
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("status %d", uint8(s))
}

// Report is the condition of a store.
type Report struct {
	Status         Status
	Mode           Mode
	Generation     uint64 // 0 while there is none to append to
	Epoch, Version uint64 // of what is durable
	Frames         int    // changes replayed from the journal at Open
	Torn           int64  // bytes of an unfinished append dropped at Open
	Damage         []Damage
	Aside          []string // files set aside: never read again, the operator's to remove
	Rewritten      string   // why Open wrote everything again; "" when it did not
	Migrated       bool     // Open found something in clear in a store that is to be sealed
}

// Damage is a file that could not be used to its end.
type Damage struct {
	File   string // its name in the folder
	Kind   fault.Kind
	Reason string // names no entry and no value
	Scoped bool   // what is missing is a scoped key
}

// Report returns the condition of the store, as Open found it and as it was changed since.
func (s *Store) Report() Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.report
	r.Damage, r.Aside = slices.Clone(r.Damage), slices.Clone(r.Aside)
	return r
}

func (r *Report) hold(generation, epoch, version uint64) {
	r.Generation, r.Epoch, r.Version = generation, epoch, version
}

// newDamage makes a missing key Unavailable and everything else Corrupt.
func newDamage(file string, err error) Damage {
	kind := fault.Corrupt
	if fault.KindOf(err) == fault.Unavailable {
		kind = fault.Unavailable
	}
	missing, lacks := errors.AsType[*localkeys.MissingKey](err)
	return Damage{file, kind, err.Error(), lacks && missing.Scoped}
}
