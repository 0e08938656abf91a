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
	"maps"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/dataplane/balancer"
	"github.com/keepgate/keepgate/dataplane/kvm"
	"github.com/keepgate/keepgate/dataplane/plugin"
	"github.com/keepgate/keepgate/dataplane/table"
	"github.com/keepgate/keepgate/dataplane/upstream"
	"github.com/keepgate/keepgate/shared/schema"
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
	// Withheld: it is locked because this node may not use its secrets for now, which is no fault of its own: it is not reported.
	Withheld bool
}

// Quarantined is an entity that cannot be used as it is configured.
type Quarantined struct{ Kind, ID, Name, Reason string }

// Options tunes a Compiler. The zero value resolves references to key-value maps alone.
type Options struct {
	Vaults Vaults
	Schema *schema.Schema // default: of all plugins of this build
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
	shares    map[string]share   // by workspace
	services  map[string]service // by id
	upstreams map[string]pool    // by id
	stored    map[string][]Quarantined
	maps      map[string]*kvm.Maps // by workspace
	schema    *schema.Schema
}

// New makes a Compiler for the plugins of kinds. Names, which balancing holds, and pools outlive the tables.
func New(kinds []plugin.Kind, balancing balancer.Settings, pools *upstream.Pools, options Options) *Compiler {
	c := &Compiler{
		kinds: map[string]plugin.Kind{}, numbers: map[string]int{}, list: kinds, balancing: balancing, pools: pools, options: options,
		entities: newEntities(), services: map[string]service{}, stored: map[string][]Quarantined{},
		maps: map[string]*kvm.Maps{}, schema: fieldsOf(options),
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
	workspace    string // whose entities the run sees; everywhere: those of all
	quarantined  []Quarantined
	certificates map[string]*parsedPair // by id; absent or broken ones are nil
	spread       map[string]pool        // upstreams, by id
	built        map[string]service     // services that can be used, by id
	faults       map[string]string      // services that cannot, by id
	disabled     map[string]bool        // services that are switched off
	runtime      *plugin.Runtime        // of the workspace
	led          map[string]int         // bytes that references led to so far, by workspace
	scopes       scopes
}

// Compile makes the table of a configuration. What references lead to is waited for once, and for a bounded time.
func (c *Compiler) Compile(all Entities) (*table.Table, []Quarantined) {
	made, quarantined := c.compile(all)
	if c.options.Vaults == nil {
		return made, quarantined
	}
	if c.options.Vaults.Settle() {
		made, quarantined = c.compile(all)
	}
	c.options.Vaults.End()
	return made, quarantined
}

func (c *Compiler) compile(all Entities) (*table.Table, []Quarantined) {
	r := &run{Compiler: c, spread: map[string]pool{}, built: map[string]service{}, faults: map[string]string{}, disabled: map[string]bool{}, led: map[string]int{}}
	r.entities = r.load(all)
	r.beginReferences()
	t := &table.Table{Certificates: r.serverNames()}
	r.parseAuthorities()
	var routed []table.Routed
	names, secret, shares, runtimes := map[string]asked{}, map[string]bool{}, map[string]share{}, []*plugin.Runtime{&t.Plugins}
	for _, workspace := range r.workspaces() {
		own := *r
		own.workspace, own.quarantined = workspace, nil
		shares[workspace] = own.share()
		runtime := plugin.NewRuntime(shares[workspace].consumers, shares[workspace].stores)
		runtime.Maps = own.mapsOf(workspace)
		own.runtime = &runtime
		own.buildServices()
		own.buildScopes()
		if workspace == home {
			t.Plugins, t.Unmatched = runtime, own.scopes.plan("", "", nil)
		}
		for _, one := range own.routes() {
			if workspace != home {
				one.Route.Plugins = &runtime
			}
			routed = append(routed, one)
		}
		runtimes = append(runtimes, &runtime)
		own.handshakes(names)
		maps.Copy(secret, own.scopes.secret)
		r.quarantined = append(r.quarantined, own.quarantined...)
	}
	t.Router, t.Handshakes, t.Upstreams, t.Leads = table.NewRouter(routed), table.NewHandshakes(r.policies(names)), r.listed(), r.leads()
	hidden := slices.Sorted(maps.Keys(secret))
	for _, runtime := range runtimes {
		runtime.Complete(hidden)
	}
	r.reportLocked()
	c.entities, c.services, c.upstreams, c.shares = r.entities, r.built, r.spread, shares
	r.forgetReports(shares)
	c.forgetMaps(shares)
	return t, r.quarantined
}

// report quarantines an entity.
func (r *run) report(kind, id, name, reason string) {
	r.quarantined = append(r.quarantined, Quarantined{kind, id, name, reason})
}

// share makes what the plugins of a workspace share. A store is kept when nothing that it is made of has changed.
func (r *run) share() share {
	last := r.shares[r.workspace]
	made := share{consumers: last.consumers, stores: make([]any, len(r.list))}
	changed := slices.ContainsFunc(consumerTables(), r.changed)
	if changed || made.consumers == nil {
		made.consumers = keep(r, "consumers", r.consumers)
	} else {
		r.again("consumers")
	}
	for number, kind := range r.list {
		keeper, ok := kind.(plugin.Keeper)
		if !ok {
			continue
		}
		anew := changed || last.stores == nil || last.stores[number] == nil
		for _, name := range keeper.Tables() {
			anew = anew || r.changed(name)
		}
		if !anew {
			made.stores[number] = last.stores[number]
			r.again(kind.Name())
			continue
		}
		made.stores[number] = keep(r, kind.Name(), func() any { return r.store(keeper, made.consumers) })
	}
	return made
}

// again reports what was reported when something was made that is kept.
func (r *run) again(name string) {
	r.quarantined = append(r.quarantined, r.stored[r.workspace+"/"+name]...)
}

// forgetReports drops what was reported of workspaces that are gone.
func (c *Compiler) forgetReports(shares map[string]share) {
	maps.DeleteFunc(c.stored, func(name string, _ []Quarantined) bool {
		workspace, _, _ := strings.Cut(name, "/")
		_, there := shares[workspace]
		return !there
	})
}

// keep makes something that outlives a compilation and remembers what was reported meanwhile.
func keep[T any](r *run, name string, make func() T) T {
	from := len(r.quarantined)
	made := make()
	r.stored[r.workspace+"/"+name] = append([]Quarantined(nil), r.quarantined[from:]...)
	return made
}

// store makes what a plugin looks things up in.
func (r *run) store(keeper plugin.Keeper, consumers *plugin.Consumers) any {
	made := keeper.Store(r.messages, consumers, r.report)
	if cautious, ok := keeper.(plugin.Cautious); ok {
		for _, table := range keeper.Tables() {
			for _, e := range r.lost(table) {
				s := e.parsed.(*salvaged)
				cautious.Lose(made, plugin.Lost{Table: table, ID: e.id, Message: s.message, Sure: s.sure})
			}
		}
	}
	if placed, ok := keeper.(plugin.Placed); ok {
		placed.Place(made, r.workspace)
	}
	return made
}
