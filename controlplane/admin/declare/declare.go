// Package declare is /config of the Admin API: a declarative file comes in and is applied as one transaction
// and one version, or goes out.
//
// What a file may say is shared/declarative's, what it changes is the catalog's. A file is what the workspace
// shall hold: what it does not name is deleted, within the selected tags when there are any. With
// mode=upsert nothing is deleted. A file without entities that would delete is refused unless it is said to be
// meant.
package declare

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/shared/declarative"
	"github.com/keepgate/keepgate/shared/schema"
)

const (
	// MaxFileBytes bounds a declarative file.
	MaxFileBytes = 128 << 20
	// patience is how long a push may take: every changed password costs tens of milliseconds.
	patience = time.Hour
)

// Catalog applies and dumps; controlplane/catalog says what each method promises.
type Catalog interface {
	Workspace(ctx context.Context, name string) (id string, err error)
	Apply(ctx context.Context, workspace string, set catalog.Set, options catalog.ApplyOptions) (catalog.Diff, error)
	Dump(ctx context.Context, workspace string, tags []string) (catalog.Dump, error)
}

// API answers for /config.
type API struct {
	catalog Catalog
	schema  *schema.Schema
	wake    func()
}

// New makes the API. wake is called after every write.
func New(c Catalog, s *schema.Schema, wake func()) *API { return &API{c, s, wake} }

// Mount adds all paths.
func (a *API) Mount(t *rest.Table) {
	t.Handle("GET", "/config", a.dump)
	t.Handle("POST", "/config", a.push)
}

// options is what the query says.
type options struct {
	checkHash, flatten, dryRun, allowEmpty, upsert bool
	tags                                           []string
}

// optionsOf refuses what it does not know: a misspelt dry_run would delete.
func optionsOf(r *rest.Request) (o options, err error) {
	known := []string{"check_hash", "flatten_errors", "dry_run", "allow_empty", "mode", "select_tags"}
	for _, name := range slices.Sorted(maps.Keys(r.URL.Query())) {
		if !slices.Contains(known, name) {
			return o, rest.Refuse(http.StatusBadRequest, "no such option: '%s'; there are %s", name, strings.Join(known, ", "))
		}
	}
	for name, into := range map[string]*bool{
		"check_hash": &o.checkHash, "flatten_errors": &o.flatten, "dry_run": &o.dryRun, "allow_empty": &o.allowEmpty,
	} {
		if *into, err = r.Flag(name); err != nil {
			return o, err
		}
	}
	switch mode := r.URL.Query().Get("mode"); mode {
	case "", "replace":
	case "upsert":
		o.upsert = true
	default:
		return o, rest.Refuse(http.StatusBadRequest, "mode must be replace or upsert")
	}
	o.tags = r.Words("select_tags")
	return o, nil
}

func (a *API) push(r *rest.Request) (rest.Answer, error) {
	_ = r.Controller().SetReadDeadline(time.Now().Add(patience))  // a server without deadlines needs none
	_ = r.Controller().SetWriteDeadline(time.Now().Add(patience)) // as above
	o, err := optionsOf(r)
	if err != nil {
		return rest.Answer{}, err
	}
	text, err := textOf(r)
	if err != nil {
		return rest.Answer{}, err
	}
	file, err := declarative.Parse(a.schema, "config", text)
	if problems, ok := errors.AsType[*declarative.Problems](err); ok {
		return rest.Answer{}, a.refuse(ofFile(problems), text, o)
	}
	if err != nil {
		return rest.Answer{}, err
	}
	return a.apply(r, file, text, o)
}

func (a *API) apply(r *rest.Request, file *declarative.File, text []byte, o options) (rest.Answer, error) {
	workspace, err := a.workspace(r, file)
	if err != nil {
		return rest.Answer{}, err
	}
	if len(file.Entities) == 0 && !o.upsert && !o.allowEmpty {
		return rest.Answer{}, rest.Refuse(http.StatusBadRequest,
			"the file holds no entity, and applying it would delete everything selected; if that is meant, say allow_empty=1 (--allow-empty)")
	}
	set := catalog.Set{Hashes: !file.Transform, Items: make([]catalog.Item, len(file.Entities))}
	for i, e := range file.Entities {
		set.Items[i] = catalog.Item{Table: e.Table, Document: e.Document, Derived: e.Derived}
	}
	tags := slices.Clone(file.SelectTags)
	for _, tag := range o.tags {
		if !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	diff, err := a.catalog.Apply(r.Context(), workspace, set, catalog.ApplyOptions{
		DryRun: o.dryRun, SelectTags: tags, Delete: !o.upsert,
	})
	if refused, ok := errors.AsType[*catalog.SetError](err); ok {
		return rest.Answer{}, a.refuse(ofSet(refused, file), text, o)
	}
	if err != nil {
		return rest.Answer{}, err
	}
	if diff.Revision > 0 {
		a.wake()
	}
	if o.checkHash && len(diff.Entries) == 0 {
		return rest.Answer{Status: http.StatusNotModified}, nil
	}
	status := http.StatusCreated
	if o.dryRun {
		status = http.StatusOK
	}
	return rest.JSON(status, reportOf(diff, o.dryRun)), nil
}

// workspace is the path's, or else the file's; both may not name different ones.
func (a *API) workspace(r *rest.Request, file *declarative.File) (id string, err error) {
	if id, err = r.Resolve(); err != nil || file.Workspace == "" {
		return id, err
	}
	said, err := a.catalog.Workspace(r.Context(), file.Workspace)
	if problem, ok := errors.AsType[*catalog.Problem](err); ok && problem.Code == catalog.NotFound {
		return "", rest.Refuse(http.StatusBadRequest, "_workspace: there is no workspace '%s'; make it first with POST /workspaces", file.Workspace)
	}
	if err == nil && r.Prefix != "" && said != id {
		err = rest.Refuse(http.StatusBadRequest, "the file is for workspace '%s', the request for '%s'", file.Workspace, r.WorkspaceName())
	}
	return said, err
}

// textOf reads the file out of a body: the body itself, or its field "config".
func textOf(r *rest.Request) ([]byte, error) {
	body, mediaType, params, err := r.Raw(MaxFileBytes)
	if err != nil {
		return nil, err
	}
	switch mediaType {
	case "text/yaml", "text/x-yaml", "application/yaml", "application/x-yaml":
		return body, nil
	}
	text, err := rest.ArgumentOf(body, mediaType, params, "config")
	if err == nil && text == nil && mediaType == rest.TypeJSON {
		return body, nil
	}
	if mediaType == rest.TypeJSON && errors.Is(err, schema.ErrJSON) {
		return nil, err
	}
	if err == nil && len(text) == 0 {
		return nil, rest.Refuse(http.StatusBadRequest, "expected a declarative configuration")
	}
	if err != nil {
		return nil, err
	}
	names, err := rest.NamesOf(body, mediaType, params)
	for _, name := range names {
		if name != "config" {
			return nil, rest.Refuse(http.StatusBadRequest, "beside config the body may hold nothing; '%s' belongs into the query, as in POST /config?dry_run=1", name)
		}
	}
	return text, err
}

// report is what a push did, or would do.
type report struct {
	DryRun   bool              `json:"dry_run"`
	Revision uint64            `json:"revision"` // 0: nothing was written
	Summary  map[string]counts `json:"summary"`
	Changes  []change          `json:"changes"`
}

type counts struct {
	Created   int `json:"created"`
	Updated   int `json:"updated"`
	Deleted   int `json:"deleted"`
	Unchanged int `json:"unchanged"`
}

type change struct {
	Action string   `json:"action"`
	Entity string   `json:"entity"`
	ID     string   `json:"id"`
	Name   string   `json:"name,omitempty"`
	Fields []string `json:"fields,omitempty"`
}

func reportOf(diff catalog.Diff, dryRun bool) report {
	r := report{DryRun: dryRun, Revision: diff.Revision, Summary: map[string]counts{}, Changes: make([]change, len(diff.Entries))}
	for table, c := range diff.Tables {
		r.Summary[table] = counts(c)
	}
	for i, entry := range diff.Entries {
		r.Changes[i] = change{string(entry.Action), entry.Table, entry.ID, entry.Name, entry.Fields}
	}
	return r
}

// dump writes what a workspace holds, secrets in clear.
func (a *API) dump(r *rest.Request) (rest.Answer, error) {
	if err := r.Demand("exporting the configuration with its secrets"); err != nil {
		return rest.Answer{}, err
	}
	workspace, err := r.Resolve()
	if err != nil {
		return rest.Answer{}, err
	}
	nested, err := r.Flag("nested")
	if err != nil {
		return rest.Answer{}, err
	}
	tags := r.Words("select_tags")
	dump, err := a.catalog.Dump(r.Context(), workspace, tags)
	if err != nil {
		return rest.Answer{}, err
	}
	if len(dump.Undecryptable) > 0 {
		return rest.Answer{}, incomplete(dump.Undecryptable)
	}
	out := declarative.Options{Nested: nested, Workspace: r.WorkspaceName(), SelectTags: tags, Names: dump.Names}
	text := &strings.Builder{}
	if err := declarative.Dump(text, a.schema, messages(dump), out); err != nil {
		return rest.Answer{}, err
	}
	return rest.JSON(http.StatusOK, map[string]any{"config": text.String()}), nil
}

// incomplete refuses a dump that lacks rows: pushed again it would delete them.
func incomplete(rows []catalog.Undecryptable) error {
	names := map[string]int{}
	for _, row := range rows {
		names[row.Table]++
	}
	parts := []string{}
	for _, table := range slices.Sorted(maps.Keys(names)) {
		parts = append(parts, fmt.Sprintf("%d of %s", names[table], table))
	}
	body := rest.Unavailable(rows[0].Err)
	body["message"] = fmt.Sprintf("entities do not open (%s), and a file without them would delete them: %v", strings.Join(parts, ", "), body["message"])
	return &rest.Refusal{Status: http.StatusServiceUnavailable, Body: body}
}
