package publish

import (
	"github.com/keepgate/keepgate/controlplane/publish/selection"
	"github.com/keepgate/keepgate/controlplane/publish/versions"
	"github.com/keepgate/keepgate/controlplane/publish/wire"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/configset"
)

const (
	tableWorkspaces = "workspaces"
	tableServices   = "services"
	tableRoutes     = "routes"
	tableKeyauth    = "keyauth_credentials"
)

// state is all that was read of the database, and what each environment holds of it.
type state struct {
	wire      *wire.Wire
	selection *selection.Selection
	forms     map[selection.Ref]*wire.Form // of all rows that travel, held or not: who holds them may change without them
	roots     int                          // services and routes among them
	shown     []*shown                     // by environment, as in wire
}

// shown is what an environment's data planes are to hold.
type shown struct {
	environment *versions.Environment
	set         configset.Set // without names of lost keys
	number      uint64        // newest revision that concerned it
	deleted     bool          // it, or the newest that moved its entities, only deleted
}

// reading is a row that was read to be shown.
type reading struct {
	ref   record.Ref
	gone  bool
	form  *wire.Form
	facts *selection.Row
	err   error // it does not open
}

// facts returns what a row counted as so far, nil when it was not there.
func (s *state) facts(ref record.Ref) *selection.Row {
	if s == nil {
		return nil
	}
	return s.selection.Row(selection.Ref{Table: ref.Table, ID: ref.ID})
}

// take shows rows to the environments that hold them now, and takes rows from those that do not any more.
func (p *Publisher) take(readings []reading) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.state
	var puts []*selection.Row
	var deletes []selection.Ref
	for i := range readings {
		r := &readings[i]
		at := selection.Ref{Table: r.ref.Table, ID: r.ref.ID}
		s.keep(at, r.form)
		if r.gone {
			deletes = append(deletes, at)
		} else {
			puts = append(puts, r.facts)
		}
	}
	for _, flip := range s.selection.Update(puts, deletes) {
		to := s.shown[flip.Environment]
		if flip.Held {
			to.set = to.set.Put(s.forms[flip.Ref].In(flip.Environment))
		} else {
			to.set = to.set.Delete(flip.Ref.Table, flip.Ref.ID)
		}
	}
	for _, r := range puts {
		for e, to := range s.shown {
			if s.selection.Held(e, r.Ref) {
				to.set = to.set.Put(s.forms[r.Ref].In(e))
			}
		}
	}
}

// keep remembers the form of a row; nil when it is gone.
func (s *state) keep(at selection.Ref, f *wire.Form) {
	before := s.forms[at]
	if at.Table == tableServices || at.Table == tableRoutes {
		switch {
		case before == nil && f != nil:
			s.roots++
		case before != nil && f == nil:
			s.roots--
		}
	}
	if f == nil {
		delete(s.forms, at)
		return
	}
	s.forms[at] = f
}

func refOf(row record.Row) record.Ref {
	return record.Ref{Table: row.Table, Workspace: row.Workspace, ID: row.ID}
}
