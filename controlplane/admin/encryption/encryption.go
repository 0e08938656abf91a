// Package encryption is the part of the Admin API that shows how secrets rest: GET /encryption, rows by table, provider
// and key, and where the providers come from; GET /encryption/{table}/{id}, why the secrets of one entity are as they
// are. It shows no value and no key, and changes nothing: what writes secrets again is the re-encryption.
package encryption

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

// Catalog finds the rows; controlplane/catalog says what it promises.
type Catalog interface {
	Explain(ctx context.Context, at catalog.Address, explain func(table, text string) encryption.Explanation) (id string, fields []catalog.ExplainedField, err error)
	SecretTables() []catalog.SecretTable
}

// Cipher is what seals; controlplane/encryption says what each method promises.
type Cipher interface {
	Explain(table, text string) encryption.Explanation
	Chains() encryption.Chains
	Mark(table string) (string, error)
}

// Deps is what the API stands on.
type Deps struct {
	Catalog Catalog
	Cipher  Cipher
	// Count counts rows by table and mark; the mark "" is a secret in clear.
	Count func(ctx context.Context) ([]record.SealedCount, error)
	// Plugins are the KMS plugins that this node depends on, in the order of the configuration.
	Plugins func(ctx context.Context) []Plugin
	// Configuration is how encryption_provider_config stands; nil: there is none.
	Configuration func() *Configuration
}

// Plugin is a KMS plugin as it stands with this node.
type Plugin struct {
	Provider string `json:"provider"` // "kms v2", "kms v1"
	Name     string `json:"name"`
	Endpoint string `json:"endpoint"`
	Healthy  bool   `json:"healthy"`
	Problem  string `json:"problem,omitempty"`
	Since    int64  `json:"since,omitempty"` // Unix seconds of the last good or the first bad answer
	// The rest is of KMS v2.
	KeyIDHash string `json:"key_id_hash,omitempty"` // of the key_id that the plugin names
	ActiveKey string `json:"active_key,omitempty"`  // id of the seed that values are written under
	KeyAge    int64  `json:"active_key_seconds,omitempty"`
	Keys      int    `json:"keys"`              // seeds that are held
	Waiting   string `json:"waiting,omitempty"` // for what another seed waits
}

// Configuration is how the file of the providers stands.
type Configuration struct {
	Path      string `json:"path"`
	Hash      string `json:"hash"`     // of the file in force
	Taken     int64  `json:"taken_at"` // Unix seconds
	Automatic bool   `json:"automatic_reload"`
	Problem   string `json:"problem,omitempty"` // why the file as it lies there now is not in force
	Tried     int64  `json:"tried_at,omitempty"`
}

// API answers how secrets rest.
type API struct{ deps Deps }

// New makes the API.
func New(deps Deps) *API { return &API{deps} }

// Mount adds all paths. Each table has a pattern of its own, by which is told who may look.
func (a *API) Mount(t *rest.Table) {
	t.Handle("GET", "/encryption", a.status)
	t.Handle("GET", "/encryption/{table}/{id!}", a.unknown)
	for _, name := range a.tables() {
		t.Handle("GET", "/encryption/"+name+"/{id!}", func(r *rest.Request) (rest.Answer, error) { return a.explain(r, name) })
	}
}

// tables are those with encrypted fields.
func (a *API) tables() (names []string) {
	for _, t := range a.deps.Catalog.SecretTables() {
		names = append(names, t.Name)
	}
	slices.Sort(names)
	return names
}

// table is how the secrets of one table rest.
type table struct {
	Table   string             `json:"table"`
	Chain   []string           `json:"providers"` // the first writes, all read
	Origin  string             `json:"origin"`    // what says so: a setting, or a place in a file
	Writer  encryption.Written `json:"writer"`
	Refused string             `json:"refused,omitempty"` // why nothing can be written now
	Rows    []rows             `json:"rows"`
	Clear   int                `json:"plaintext_rows"`
	Stale   int                `json:"stale_rows"` // that a re-encryption would write again
}

// rows rest under one key.
type rows struct {
	encryption.Written
	Count    int  `json:"rows"`
	Stale    bool `json:"stale"`
	Readable bool `json:"readable"` // a provider of the table reads them, as far as the form goes
}

func (a *API) status(r *rest.Request) (rest.Answer, error) {
	counts, err := a.deps.Count(r.Context())
	if err != nil {
		return rest.Answer{}, err
	}
	tables, inClear, stale := []table{}, 0, 0
	for _, name := range a.tables() {
		t := a.table(name, counts)
		tables = append(tables, t)
		inClear, stale = inClear+t.Clear, stale+t.Stale
	}
	return rest.JSON(http.StatusOK, map[string]any{
		"configuration": a.deps.Configuration(), "providers": append([]Plugin{}, a.deps.Plugins(r.Context())...),
		"tables": tables, "plaintext_rows": inClear, "stale_rows": stale,
	}), nil
}

func (a *API) table(name string, counts []record.SealedCount) table {
	chains := a.deps.Cipher.Chains()
	chain := chains.Of(name)
	current, err := a.deps.Cipher.Mark(name)
	t := table{Table: name, Origin: chain.Origin, Writer: encryption.Describe(current), Rows: []rows{}}
	seals := chain.Providers[0].Prefix() != ""
	if current == "" && seals { // it has no key yet
		t.Writer = described(chain.Providers[0])
	}
	if err != nil {
		t.Refused = fault.Text(err)
	}
	for _, p := range chain.Providers {
		t.Chain = append(t.Chain, named(p))
	}
	for _, count := range counts {
		if count.Table != name || count.Rows == 0 {
			continue
		}
		one := rows{Written: encryption.Describe(count.Key), Count: count.Rows, Stale: count.Key != current || count.Key == "" && seals, Readable: chains.Readable(name, count.Key)}
		t.Rows = append(t.Rows, one)
		if count.Key == "" {
			t.Clear += count.Rows
		}
		if one.Stale {
			t.Stale += count.Rows
		}
	}
	return t
}

// named is a provider for people: its kind, and what tells it from others of the kind.
func named(p encryption.Provider) string { return described(p).String() }

// described is what tells a provider from others, whatever its key is.
func described(p encryption.Provider) encryption.Written {
	prefix := p.Prefix()
	switch {
	case prefix == record.KeyringPrefix:
		return encryption.Written{Provider: "keyring"}
	case strings.HasPrefix(prefix, record.KMS2Prefix):
		w := encryption.Describe(prefix + strings.Repeat("0", record.KeyIDLength))
		return encryption.Written{Provider: w.Provider, Name: w.Name}
	}
	w := encryption.Describe(strings.TrimSuffix(prefix, ":"))
	w.Mark = ""
	return w
}

func (a *API) unknown(*rest.Request) (rest.Answer, error) {
	return rest.Answer{}, rest.Refuse(http.StatusNotFound, "no table of this name has encrypted fields; these have: %s", strings.Join(a.tables(), ", "))
}

func (a *API) explain(r *rest.Request, name string) (rest.Answer, error) {
	workspace, err := r.Resolve()
	if err != nil {
		return rest.Answer{}, err
	}
	id, fields, err := a.deps.Catalog.Explain(r.Context(), catalog.Address{Table: name, Workspace: workspace, Key: r.Param(0)}, a.deps.Cipher.Explain)
	if err != nil {
		return rest.Answer{}, err
	}
	if fields == nil {
		fields = []catalog.ExplainedField{}
	}
	return rest.JSON(http.StatusOK, map[string]any{"table": name, "id": id, "fields": fields}), nil
}
