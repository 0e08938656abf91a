package catalog

import (
	"fmt"

	"github.com/keepgate/keepgate/shared/schema"
)

// Set is a declarative configuration: entities in any order, nesting flattened.
type Set struct {
	Items []Item
	// Hashes: passwords are hashes already (_transform: false). Else a text that looks like one is a password.
	Hashes bool
}

// Item is one entity of a set.
type Item struct {
	Table string
	// Document as for Insert. A foreign key is {"id": …} or {"<unique field>": …} of an entity of the set or
	// of the database.
	Document schema.Document
	// Derived: nobody gave the document its id. It gives way to the id of an entity that has one of the same
	// unique keys, so that what was made by hand is taken over and not doubled. No id is made of a secret, so
	// where the unique key is one (a key-auth key) the id says nothing, and only the key counts.
	Derived bool
}

// ApplyOptions says how a set meets what is there. The zero value writes what the set holds and leaves the
// rest.
type ApplyOptions struct {
	DryRun     bool     // nothing is written, and nothing hashed
	SelectTags []string // written entities get all of these, and only entities that have them are deleted
	// Delete removes the entities of the workspace that the set does not hold. CA certificates belong to no
	// workspace; only a set for the default one removes them.
	Delete bool
	// Allow, where it is set, is shown each change before any is written; its error refuses the whole set and is
	// returned as it is.
	Allow func(Entry) error
}

// Action is what becomes of one entity.
type Action string

const (
	Create Action = "create"
	Modify Action = "update"
	Remove Action = "delete"
)

// Entry is one line of a diff. It holds names of fields and never their values.
type Entry struct {
	Action    Action
	Table, ID string
	Name      string   // value of the endpoint key, if it is no secret; of an entry its map's name, "/" and its key
	Fields    []string // that differ, of an update
}

// Counts sums up a table.
type Counts struct{ Created, Updated, Deleted, Unchanged int }

// Diff is what a set changes.
type Diff struct {
	Entries  []Entry // parents before children, deletes last and in reverse
	Tables   map[string]Counts
	Revision uint64 // 0 when nothing was written
}

// ItemFault is what is wrong with one item.
type ItemFault struct {
	Item    int // index into Set.Items; -1: an entity that is not in the set
	Problem *Problem
}

// SetError is a set that was refused as a whole, in fault.Invalid. Nothing was changed.
type SetError struct{ Faults []ItemFault }

func (e *SetError) Error() string {
	if len(e.Faults) == 1 {
		return e.Faults[0].Problem.Message
	}
	return fmt.Sprintf("%d entities are refused, the first: %s", len(e.Faults), e.Faults[0].Problem.Message)
}
