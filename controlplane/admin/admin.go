// Package admin is the Admin API: HTTP on the one side, the catalog, the keyring and the fleet on the other.
//
// A request goes through the guard (who may speak to the API at all), the table of paths, its handler, and
// back through one place that writes answers, turns faults into Kong's error bodies and keeps the access log.
// What the handlers do stands in the packages below.
//
// No credential is written to a log, in a path or a query either.
package admin

import (
	"log/slog"
	"maps"
	"net/http"
	"time"

	"github.com/keepgate/keepgate/controlplane/admin/declare"
	"github.com/keepgate/keepgate/controlplane/admin/entities"
	"github.com/keepgate/keepgate/controlplane/admin/guard"
	"github.com/keepgate/keepgate/controlplane/admin/journal"
	"github.com/keepgate/keepgate/controlplane/admin/node"
	"github.com/keepgate/keepgate/controlplane/admin/rbac"
	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/shared/schema"
	"github.com/keepgate/keepgate/shared/secret"
)

// Catalog is what the API reads and writes. *catalog.Catalog is one.
type Catalog interface {
	entities.Catalog
	declare.Catalog
	Schema() *schema.Schema
}

// Journal is where decisions are recorded and read. *audit.Journal is one.
type Journal interface {
	guard.Journal
	journal.Journal
}

// Room is a part of the API with paths of its own.
type Room interface{ Mount(t *rest.Table) }

// Level is the log's level, by Kong's names: debug, info, notice, warn, error, crit, alert, emerg.
type Level = node.Level

// Deps is what the API stands on. All of it is needed but what says otherwise.
type Deps struct {
	Catalog Catalog
	Keyring interface{ Status() keyring.Status } // nil: keyring_enabled is off; mind that a nil *keyring.Ring is not a nil interface
	Rooms   []Room                               // further parts of the API
	Fleet   node.Fleet
	License node.License // nil: there is none
	// DatabaseWarnings say what is not as it should be with the way to the database; nil: nothing can be.
	DatabaseWarnings func() []string
	Level            Level
	Wake             func()        // hints that something was committed
	Journal          Journal       // nil: nothing is recorded; mind that a nil *audit.Journal is not a nil Journal
	Token            secret.Bytes  // as LoadToken returns it
	Access           *rbac.Control // nil: enforce_rbac is off
	Log              *slog.Logger
}

// Options tunes the API. The zero value serves loopback names with Keepgate's header names.
type Options struct {
	Version        string // of this program
	NodeID         string
	Hostname       string
	Configuration  map[string]any // effective settings without secrets, for GET /; "database" among them
	HeaderNames    string         // keepgate (default), kong or both
	AllowedHosts   []string
	AllowedOrigins []string
}

// Server is the Admin API. It is safe for concurrent use.
type Server struct {
	deps    Deps
	options Options
	table   *rest.Table
	guard   *guard.Guard
	node    *node.API
	counts  counts

	decisions guard.Decisions
}

// New makes the API and starts nothing.
func New(deps Deps, options Options) (*Server, error) {
	g, err := guard.New(options.AllowedHosts, options.AllowedOrigins, deps.Token)
	if err != nil {
		return nil, err
	}
	if deps.Access != nil {
		deps.Catalog = rbac.NewScope(deps.Catalog)
	}
	s := &Server{deps: deps, options: options, table: rest.NewTable(), guard: g, counts: counts{begun: time.Now()}}
	entity := deps.Catalog.Schema()
	about := node.Deps{
		Catalog: deps.Catalog, Schema: entity, Fleet: deps.Fleet, Level: deps.Level, Connections: s.counts.read, Keyring: deps.Keyring, License: deps.License,
		DatabaseWarnings: deps.DatabaseWarnings,
	}
	s.node = node.New(about, node.Facts{
		Version: options.Version, NodeID: options.NodeID, Hostname: options.Hostname,
		Configuration: configuration(options.Configuration, deps.Access != nil),
	})
	s.node.Mount(s.table)
	if deps.Journal != nil {
		s.decisions.Journal = deps.Journal
		journal.New(deps.Journal).Mount(s.table)
	}
	if deps.Access != nil {
		deps.Access.Mount(s.table)
	}
	declare.New(deps.Catalog, entity, deps.Wake).Mount(s.table)
	entities.New(deps.Catalog, entity, deps.Wake).Mount(s.table)
	for _, room := range deps.Rooms { // last: what a room says of its paths counts
		room.Mount(s.table)
	}
	return s, nil
}

// configuration adds what Kong's clients ask of GET / beside the settings.
func configuration(settings map[string]any, enforced bool) map[string]any {
	shown := maps.Clone(settings)
	if shown == nil {
		shown = map[string]any{}
	}
	if shown["rbac"] = "off"; enforced {
		shown["rbac"] = "on"
	}
	return shown
}

// LoadToken reads the admin token, and makes it if there is none; the notice then says so.
func LoadToken(path string) (token secret.Bytes, notice string, err error) {
	return guard.LoadToken(path)
}

// CheckListen refuses listeners on which the API would be open to whom it should not be.
func CheckListen(listeners []guard.Listener, enforceRBAC bool) error {
	return guard.CheckListen(listeners, enforceRBAC)
}

var _ Catalog = (*catalog.Catalog)(nil)

var _ http.Handler = (*Server)(nil)
