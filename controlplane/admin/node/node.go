// Package node is what the Admin API says of this control plane node: GET /, /status, the license, the log level.
package node

import (
	"context"
	"net/http"
	"os"
	"runtime"
	"strconv"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/fleet"
	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/shared/memguard"
	"github.com/keepgate/keepgate/shared/schema"
)

// KongVersion is the version of the Admin API that is spoken here; Kong's clients choose by it.
const KongVersion = "3.8.1"

// Catalog is asked for the plugins in use, and whether the database answers.
type Catalog interface {
	List(ctx context.Context, query catalog.Query) (catalog.Page, error)
	Workspace(ctx context.Context, name string) (id string, err error)
}

// Fleet is all data planes; *fleet.Fleet is one.
type Fleet interface {
	List(ctx context.Context) ([]fleet.Status, error)
}

// Deps is what the node is known by.
type Deps struct {
	Catalog Catalog
	Schema  *schema.Schema
	Keyring interface{ Status() keyring.Status } // nil: the keyring is off
	License License                              // nil: there is none
	Fleet   Fleet
	Level   Level
	// Connections counts what the listeners have seen.
	Connections func() Connections
	// DatabaseWarnings say what is not as it should be with the way to the database; nil: nothing can be.
	DatabaseWarnings func() []string
}

// Connections counts what the Admin API's listeners have seen.
type Connections struct{ Accepted, Active, Requests uint64 }

// Facts do not change while the node runs.
type Facts struct {
	Version, NodeID, Hostname string
	Configuration             map[string]any // effective settings without secrets; "database" is among them
}

// API answers for the node.
type API struct {
	deps  Deps
	facts Facts
	level levelSwitch
}

// New makes the API.
func New(deps Deps, facts Facts) *API { return &API{deps: deps, facts: facts} }

// Mount adds all paths.
func (a *API) Mount(t *rest.Table) {
	t.Handle("GET", "/", a.info)
	t.Handle("GET", "/status", a.status)
	t.Handle("GET", "/endpoints", func(*rest.Request) (rest.Answer, error) {
		return rest.JSON(http.StatusOK, map[string]any{"data": t.Patterns()}), nil
	})
	t.Handle("GET", "/license/report", a.licenseReport)
	t.Handle("GET", "/debug/node/log-level", a.logLevel)
	t.Handle("PUT", "/debug/node/log-level/{level}", a.setLogLevel)
}

// info is GET /, by which clients recognise what they talk to.
func (a *API) info(r *rest.Request) (rest.Answer, error) {
	workspace, err := r.Resolve()
	if err != nil {
		return rest.Answer{}, err
	}
	available := map[string]any{}
	for _, name := range a.deps.Schema.Plugins() {
		if p, ok := a.deps.Schema.Plugin(name); ok {
			available[name] = map[string]any{"version": p.Version, "priority": p.Priority}
		}
	}
	enabled, err := a.pluginsInUse(r.Context(), workspace, len(available))
	if err != nil {
		return rest.Answer{}, err
	}
	return rest.JSON(http.StatusOK, map[string]any{
		"tagline": "Welcome to keepgate", "version": KongVersion, "keepgate_version": a.facts.Version, "edition": "community",
		"hostname": a.facts.Hostname, "node_id": a.facts.NodeID,
		"plugins":       map[string]any{"available_on_server": available, "enabled_in_cluster": enabled},
		"configuration": a.facts.Configuration,
		"pids":          map[string]any{"master": os.Getpid(), "workers": []int{}},
		"timers":        map[string]any{"running": 0, "pending": 0},
		"license":       a.license(),
	}), nil
}

// pluginsInUse names the plugins that are configured; it stops looking once it has seen all there are.
func (a *API) pluginsInUse(ctx context.Context, workspace string, all int) ([]string, error) {
	e, found := a.deps.Schema.Entity("plugins")
	names, seen := []string{}, map[string]bool{}
	query := catalog.Query{Table: "plugins", Workspace: workspace, Size: 1000}
	for more := found; more && len(names) < all; {
		page, err := a.deps.Catalog.List(ctx, query)
		if err != nil {
			return nil, err
		}
		for _, m := range page.Entities {
			doc, err := a.deps.Schema.Document(e, m)
			if err != nil {
				continue // it does not open; GET /plugins says so
			}
			if name, _ := doc["name"].(string); !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
		query.After, more = page.Last, page.More
	}
	return names, nil
}

func (a *API) status(r *rest.Request) (rest.Answer, error) {
	size, err := sizes(r)
	if err != nil {
		return rest.Answer{}, err
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	_, err = a.deps.Catalog.Workspace(r.Context(), "")
	c := a.deps.Connections()
	body := map[string]any{
		"memory": map[string]any{
			"workers_lua_vms":  []any{map[string]any{"pid": os.Getpid(), "http_allocated_gc": size(memory.HeapAlloc)}},
			"lua_shared_dicts": map[string]any{},
		},
		"server": map[string]any{
			"connections_accepted": c.Accepted, "connections_handled": c.Accepted, "connections_active": c.Active,
			"connections_reading": 0, "connections_writing": 1, "connections_waiting": max(c.Active, 1) - 1, "total_requests": c.Requests,
		},
		"database": map[string]any{"reachable": err == nil},
	}
	if a.deps.DatabaseWarnings != nil {
		body["database"].(map[string]any)["warnings"] = append([]string{}, a.deps.DatabaseWarnings()...)
	}
	body["license"], body["memory_protection"] = a.license(), memguard.Look()
	if a.deps.Keyring != nil {
		status := a.deps.Keyring.Status()
		body["keyring"] = map[string]any{"state": status.State, "strategy": status.Strategy, "warnings": append([]string{}, status.Warnings...)}
	} else {
		body["keyring"] = map[string]any{"state": "off", "warnings": []string{"keyring_enabled is off: secrets rest in the database in clear"}}
	}
	return rest.JSON(http.StatusOK, body), nil
}

// sizes reads ?unit=k|m|g|b&scale=n.
func sizes(r *rest.Request) (func(bytes uint64) string, error) {
	query := r.URL.Query()
	scale := 2
	if text := query.Get("scale"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > 10 {
			return nil, rest.Refuse(http.StatusBadRequest, "scale must be a number between 0 and 10")
		}
		scale = n
	}
	units := map[string]struct {
		name string
		size float64
	}{"": {"MiB", 1 << 20}, "b": {"B", 1}, "k": {"KiB", 1 << 10}, "m": {"MiB", 1 << 20}, "g": {"GiB", 1 << 30}}
	unit, ok := units[query.Get("unit")]
	if !ok {
		return nil, rest.Refuse(http.StatusBadRequest, "unit must be one of: b, k, m, g")
	}
	return func(bytes uint64) string {
		return strconv.FormatFloat(float64(bytes)/unit.size, 'f', scale, 64) + " " + unit.name
	}, nil
}
