// Package selection says which environment holds which entity.
//
// It is pure: it is told what counts of every row ([Row]) and answers, without a database or a clock. A change costs
// what it touches: the row itself, and the rows whose answer may follow from it. Telling all rows at once and telling
// them one by one, in whatever order, lead to the same answers.
//
// # What an environment holds
//
// Its own are the services and routes of its workspaces; with tags to select by, those services that carry one, and
// those routes that carry one or whose service does. A route brings its service. By need come, of the same
// workspaces: plugins on what is held, and those without a scope; consumers who have a credential of a kind that a
// held plugin checks, whom a held plugin names or may find by what they are called; of these consumers the
// credentials of kinds that are checked, and their groups; plugins on them; upstreams that a held service's host names,
// with their targets; key-value maps that a held plugin or certificate refers to by name, or a held plugin looks up, with their
// entries; vaults that these refer to; orders to forget kept responses, with the plugin that they are for, or with any route of
// their workspace; certificates that a held service or upstream shows, and those whose server names fit a held
// route; a route that lists none fits all names of its workspace and of the default one, and of every workspace where
// no tags select; CA certificates that any of these name.
//
// An entity that carries a tag by which some environment of its workspace selects is left out of those that select
// by tags and by none of its own, whoever there may need it: consumers tagged staging do not reach prod. What cannot be without it is
// left out too, so that no foreign key ever leads nowhere. Two things are kept although what they name by other means
// may be missing, because without them more would be open: a plugin stays when a consumer that it names is
// left out, and CA certificates, which hold no secret, go wherever they are named.
//
// A map of an environment is held there alone; one of a service, a route or a plugin where that is, and a plugin's map for
// what this plugin refers to alone. A plugin or certificate with a value that does not open may refer to anything of its
// workspace: data planes go on with the form of it that they have, and would stop what it is for if they lost what it refers to.
package selection

import "slices"

// Ref names a row.
type Ref struct{ Table, ID string }

// Row is what counts of an entity.
type Row struct {
	Ref
	Workspace string // id; "" for entities of all workspaces
	Tags      []string
	Parents   []Ref // by foreign keys

	Name        string   // upstreams and server names, in lower case, and consumers are found by it
	Host        string   // of a service, in lower case
	Names       []string // of a route: hosts and server names, in lower case, without ports
	TLS         bool     // of a route: it may be asked for over TLS
	Checks      string   // of a plugin: the table of the credentials that it checks
	Finds       bool     // of a plugin: it finds consumers by what they are called
	Consumers   []string // of a plugin: consumers that it names, by id or user name
	Authorities []string // of a service or plugin: ids of CA certificates that it names
	Environment string   // of a map: the id of the environment that alone holds it, "" for any
	Maps        []string // of a plugin or certificate: names of the maps that its values refer to
	Vaults      []string // of a plugin, certificate or vault: prefixes of the vaults that its values refer to
	Unread      bool     // of a plugin or certificate: some value does not open, so that nobody knows what it refers to
}

func (r *Row) same(other *Row) bool {
	return r.Ref == other.Ref && r.Workspace == other.Workspace && slices.Equal(r.Tags, other.Tags) && slices.Equal(r.Parents, other.Parents) &&
		r.Name == other.Name && r.Host == other.Host && slices.Equal(r.Names, other.Names) && r.TLS == other.TLS &&
		r.Checks == other.Checks && r.Finds == other.Finds && slices.Equal(r.Consumers, other.Consumers) &&
		slices.Equal(r.Authorities, other.Authorities) && r.Environment == other.Environment && slices.Equal(r.Maps, other.Maps) &&
		slices.Equal(r.Vaults, other.Vaults) && r.Unread == other.Unread
}

// parent returns the id of the row of a table that r refers to, "" when it refers to none.
func (r *Row) parent(table string) string {
	for _, p := range r.Parents {
		if p.Table == table {
			return p.ID
		}
	}
	return ""
}

// Environment is what an environment selects.
type Environment struct {
	Name       string
	ID         string   // maps name it by this
	Workspaces []string // ids; nil for all
	Tags       []string // nil for all
}

// Covers reports whether an environment may get entities of a workspace.
func (e *Environment) Covers(workspace string) bool {
	return e.Workspaces == nil || workspace == "" || slices.Contains(e.Workspaces, workspace)
}

// Flip says that an environment now holds a row that it did not, or the other way round.
type Flip struct {
	Environment int // index of New's list
	Ref         Ref
	Held        bool
}

// Selection is which environment holds what. It is not safe for concurrent use.
type Selection struct {
	environments []Environment
	home         string // id of the default workspace, whose plugins hear of requests without a route
	nodes        map[Ref]*node
	index        index
	needs        map[need]*count

	// Of an update under way.
	fits    [fitLevels][]*node // whose fit may have changed
	queues  [levels][]*node    // whose answer may have changed
	changed []*count           // needs that may have begun or ended
	before  map[*node][]flags  // what was, of the nodes that were touched
}

// node is a row and what follows of it, by environment.
type node struct {
	row    *Row
	level  uint8
	queued bool // in its queue
	fitted bool // in fits
	gone   bool
	flags  []flags
}

// flags is one answer for one environment.
type flags uint8

const (
	own    flags = 1 << iota // of its workspaces, and no other's by its tags
	tagged                   // carries a tag that is selected, or all are
	fit                      // own, and so is what it cannot be without
	held
)

// New makes a selection of no rows. home is the id of the default workspace.
func New(environments []Environment, home string) *Selection {
	return &Selection{
		environments: environments, home: home, nodes: map[Ref]*node{}, index: newIndex(), needs: map[need]*count{},
	}
}

// Update tells of rows that are new or changed, and of rows that are gone, and returns which environment holds other
// rows for that. Rows that are gone are among them. The rows are kept and must not be changed any more.
func (s *Selection) Update(puts []*Row, deletes []Ref) []Flip {
	s.before = make(map[*node][]flags, len(puts))
	for _, ref := range deletes {
		if n := s.nodes[ref]; n != nil {
			s.drop(n)
		}
	}
	for _, row := range puts {
		s.put(row)
	}
	s.settleFits()
	s.settle()
	var flips []Flip
	for n, was := range s.before {
		for e, now := range n.flags {
			if changed := now ^ was[e]; changed&held != 0 {
				flips = append(flips, Flip{e, n.row.Ref, now&held != 0})
			}
		}
	}
	s.before = nil
	return flips
}

// Held reports whether an environment holds a row.
func (s *Selection) Held(environment int, ref Ref) bool {
	n := s.nodes[ref]
	return n != nil && n.flags[environment]&held != 0
}

// Row returns what a row counts as, nil when it is not there.
func (s *Selection) Row(ref Ref) *Row {
	if n := s.nodes[ref]; n != nil {
		return n.row
	}
	return nil
}

// put takes a row in.
func (s *Selection) put(row *Row) {
	n := s.nodes[row.Ref]
	if n == nil {
		n = &node{row: row, level: levelOf(row), flags: make([]flags, len(s.environments))}
		s.nodes[row.Ref] = n
		s.touch(n)
		s.index.add(n)
	} else {
		if n.row.same(row) {
			return
		}
		s.touch(n)
		s.refit(n) // for those whom it concerned under its former name
		for e := range s.environments {
			if n.flags[e]&held != 0 {
				s.contribute(row, e, 1)
				s.contribute(n.row, e, -1)
			}
		}
		s.enqueueOwners(n)
		s.index.remove(n)
		n.row, n.level, n.queued = row, levelOf(row), n.queued && n.level == levelOf(row)
		s.index.add(n)
	}
	s.refit(n)
	s.enqueueOwners(n)
	s.enqueue(n)
}

// drop takes a row out.
func (s *Selection) drop(n *node) {
	s.touch(n)
	for e := range s.environments {
		if n.flags[e]&held != 0 {
			s.contribute(n.row, e, -1)
		}
	}
	clear(n.flags)
	n.gone = true
	s.refit(n)
	s.enqueueOwners(n)
	s.index.remove(n)
	delete(s.nodes, n.row.Ref)
}

// touch remembers what was before the update.
func (s *Selection) touch(n *node) {
	if _, known := s.before[n]; !known {
		s.before[n] = slices.Clone(n.flags)
	}
}
