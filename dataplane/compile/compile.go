// Package compile turns the entities of a configuration into a table.
//
// It never fails: an entity at fault is quarantined. What depends on it fails closed (its routes answer 503,
// its credentials are unknown), it is reported by kind, id, name and reason, and everything else applies,
// so that revocations keep arriving. What cannot even be decoded closes what it may have been for (salvage.go), the whole
// gate if need be. Disabled services and plugins are left out without a word.
//
// A [Compiler] remembers what it decoded and parsed, by kind, id and bytes, so that a change costs what it
// changes and a walk over the rest. The result depends on the entities alone.
package compile

import (
	"crypto/x509"
	"slices"

	"github.com/keepgate/keepgate/dataplane/balancer"
	"github.com/keepgate/keepgate/dataplane/plugin"
	"github.com/keepgate/keepgate/dataplane/table"
	"github.com/keepgate/keepgate/dataplane/upstream"
)

// Entities visits a configuration. Bodies must not change while the Compiler lives.
type Entities func(yield func(Entity) bool)

// Entity is one entity: Kind is a table name, Body the entity's message of keepgate.config.v1.
type Entity struct {
	Kind, ID string
	Body     []byte
	// Locked: the control plane cannot open the row and this node has no earlier form of it. Body is what of it
	// could be read, and it closes what an entity does that cannot be decoded.
	Locked bool
}

// Quarantined is an entity that cannot be used as it is configured.
type Quarantined struct{ Kind, ID, Name, Reason string }

// References resolves {vault://…} references on this node.
type References interface {
	Resolve(reference string) (string, error)
}

// Options tunes a Compiler. The zero value resolves no reference.
type Options struct {
	References References
	// Roots are the authorities that upstreams are verified against where a service names none; nil means
	// the system's. Depth is how many intermediate certificates their chains may have.
	Roots *x509.CertPool
	Depth int
	// HTTP2 lets https services be spoken to in HTTP/2, where they choose it.
	HTTP2 bool
}

// Compiler makes tables. One goroutine uses it at a time.
type Compiler struct {
	kinds   map[string]plugin.Kind
	numbers map[string]int
	list    []plugin.Kind
	pools   *upstream.Pools
	options Options

	balancing balancer.Settings

	entities  *entities          // of the last compilation
	stores    []any              // by plugin number
	services  map[string]service // by id
	upstreams map[string]pool    // by id
	stored    map[string][]Quarantined
	last      plugin.Runtime
}

// New makes a Compiler for the plugins of kinds. Names, which balancing holds, and pools outlive the tables.
func New(kinds []plugin.Kind, balancing balancer.Settings, pools *upstream.Pools, options Options) *Compiler {
	c := &Compiler{
		kinds: map[string]plugin.Kind{}, numbers: map[string]int{}, list: kinds, balancing: balancing, pools: pools, options: options,
		entities: newEntities(), stores: make([]any, len(kinds)), services: map[string]service{}, stored: map[string][]Quarantined{},
	}
	for number, kind := range kinds {
		c.kinds[kind.Name()] = kind
		c.numbers[kind.Name()] = number
	}
	return c
}

// run is one compilation.
type run struct {
	*Compiler
	*entities
	quarantined  []Quarantined
	certificates map[string]*parsedPair // by id; absent or broken ones are nil
	spread       map[string]pool        // upstreams, by id
	built        map[string]service     // services that can be used, by id
	faults       map[string]string      // services that cannot, by id
	disabled     map[string]bool        // services that are switched off
	scopes       scopes
}

// Compile makes the table of a configuration.
func (c *Compiler) Compile(all Entities) (*table.Table, []Quarantined) {
	r := &run{Compiler: c, spread: map[string]pool{}, built: map[string]service{}, faults: map[string]string{}, disabled: map[string]bool{}}
	r.entities = r.load(all)
	runtime := r.runtime()
	certificates := r.serverNames()
	r.buildServices()
	r.buildScopes()
	t := &table.Table{Router: table.NewRouter(r.routes()), Certificates: certificates, Handshakes: r.handshakes(), Plugins: runtime, Unmatched: r.scopes.plan("", "", nil), Upstreams: r.listed(), Leads: r.leads()}
	t.Plugins.Complete(r.scopes.secretParameters())
	r.reportLocked()
	c.entities, c.services, c.upstreams = r.entities, r.built, r.spread
	return t, r.quarantined
}

// report quarantines an entity.
func (r *run) report(kind, id, name, reason string) {
	r.quarantined = append(r.quarantined, Quarantined{kind, id, name, reason})
}

// runtime makes what plugins share. A store is kept when nothing that it is made of has changed.
func (r *run) runtime() plugin.Runtime {
	changed := slices.ContainsFunc(consumerTables(), r.changed)
	if changed || r.last.Consumers == nil {
		r.last.Consumers = keep(r, "consumers", r.consumers)
	} else {
		r.quarantined = append(r.quarantined, r.stored["consumers"]...)
	}
	stores := make([]any, len(r.list))
	for number, kind := range r.list {
		keeper, ok := kind.(plugin.Keeper)
		if !ok {
			continue
		}
		again := changed || r.Compiler.stores[number] == nil
		for _, name := range keeper.Tables() {
			again = again || r.changed(name)
		}
		if !again {
			stores[number] = r.Compiler.stores[number]
			r.quarantined = append(r.quarantined, r.stored[kind.Name()]...)
			continue
		}
		stores[number] = keep(r, kind.Name(), func() any { return r.store(keeper) })
	}
	r.Compiler.stores = stores
	return plugin.NewRuntime(r.last.Consumers, stores)
}

// keep makes something that outlives a compilation and remembers what was reported meanwhile.
func keep[T any](r *run, name string, make func() T) T {
	from := len(r.quarantined)
	made := make()
	r.stored[name] = append([]Quarantined(nil), r.quarantined[from:]...)
	return made
}

// store makes what a plugin looks things up in.
func (r *run) store(keeper plugin.Keeper) any {
	made := keeper.Store(r.messages, r.last.Consumers, r.report)
	if cautious, ok := keeper.(plugin.Cautious); ok {
		for _, table := range keeper.Tables() {
			for _, e := range r.lost(table) {
				s := e.parsed.(*salvaged)
				cautious.Lose(made, plugin.Lost{Table: table, ID: e.id, Message: s.message, Sure: s.sure})
			}
		}
	}
	return made
}
