package publish

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/publish/selection"
	"github.com/keepgate/keepgate/controlplane/record"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/configset"
	"github.com/keepgate/keepgate/shared/schema"
)

const (
	tableEnvironments = "environments"
	tableWorkspaces   = "workspaces"
	tableServices     = "services"
	tableRoutes       = "routes"
	tableKeyauth      = "keyauth_credentials"
	// tableFingerprintKeys is the kind of the entry that carries an environment's key; no such table exists.
	tableFingerprintKeys = "fingerprint_keys"
)

// wire makes the form in which entities travel. It is safe for concurrent use.
type wire struct {
	catalog      Catalog
	schema       *schema.Schema
	home         string  // id of the default workspace
	environments []*keys // by name
	incomplete   bool    // some environment names a workspace that is not there
}

// form is a row as it travels.
type form struct {
	ref       record.Ref
	entry     configset.Entry
	different []configset.Entry // by environment, where they get it in different forms; else nil
}

// in returns the form for one environment.
func (f *form) in(environment int) configset.Entry {
	if f.different != nil {
		return f.different[environment]
	}
	return f.entry
}

// travels reports whether rows of a table reach data planes.
func (w *wire) travels(table string) bool {
	entity, known := w.schema.Entity(table)
	return known && entity.Travels()
}

// form returns the form in which a row of a table that travels does so, and what counts of it. With an error, which says
// why the row does not open, it is the form that has data planes keep what they have.
func (w *wire) form(ctx context.Context, row record.Row, before *selection.Row) (*form, *selection.Row, error) {
	f := &form{ref: refOf(row), entry: configset.Entry{Kind: row.Table, ID: row.ID}}
	entity, err := w.catalog.Open(ctx, row)
	facts := w.facts(row, entity, before)
	facts.Unread = err != nil && refers(row.Table)
	if err == nil {
		if credential, ok := entity.(*configv1.KeyauthCredential); ok {
			return f, facts, w.fingerprinted(f, row, credential)
		}
		f.entry.Body, err = w.encode(entity)
	}
	if err != nil {
		f.entry.Kept, f.entry.Body = true, w.readable(entity)
	}
	placed, placeErr := w.place(f.entry.Body, row)
	if placeErr != nil {
		return f, facts, placeErr
	}
	f.entry.Body = placed
	return f, facts, err
}

// fingerprinted makes the forms of an API key: a fingerprint under each key of each environment.
func (w *wire) fingerprinted(f *form, row record.Row, credential *configv1.KeyauthCredential) (why error) {
	key := credential.GetKey()
	credential.Key = nil
	f.different = make([]configset.Entry, len(w.environments))
	for i, e := range w.environments {
		entry := f.entry
		body, err := w.printed(e, credential, key)
		if err != nil {
			entry.Kept, why = true, firstOf(why, err)
		}
		if entry.Body, err = w.place(body, row); err != nil {
			return err
		}
		f.different[i] = entry
	}
	return why
}

func (w *wire) printed(e *keys, credential *configv1.KeyauthCredential, key string) ([]byte, error) {
	if e.current.printer == nil {
		return nil, e.locked
	}
	if key == "" {
		return nil, errors.New("the credential has no key")
	}
	credential.Fingerprints = nil
	for _, under := range [...]fingerprintKey{e.current, e.previous} {
		if under.printer != nil {
			sum := under.printer.Sum(key)
			credential.Fingerprints = append(credential.Fingerprints, hex.EncodeToString(sum[:]))
		}
	}
	return w.encode(credential)
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func (w *wire) encode(entity proto.Message) ([]byte, error) {
	body, err := w.schema.Wire(w.schema.EntityOf(entity), entity)
	if err != nil {
		return nil, fmt.Errorf("encoding: %w", err)
	}
	return body, nil
}

// place appends to the form of an entity which workspace it belongs to: data planes keep workspaces apart.
func (w *wire) place(body []byte, row record.Row) ([]byte, error) {
	if entity, known := w.schema.Entity(row.Table); !known || !entity.Workspaced {
		return body, nil
	}
	workspace := row.Workspace
	if workspace == w.home {
		workspace = catalog.DefaultName
	}
	placed, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(body, &syncv1.Placed{Workspace: &workspace})
	if err != nil {
		return nil, fmt.Errorf("encoding: %w", err)
	}
	return placed, nil
}

// readable encodes what a data plane needs of an entity that does not open; see withoutSecrets.
func (w *wire) readable(entity proto.Message) []byte {
	left := withoutSecrets(entity)
	if left == nil {
		return nil
	}
	body, err := w.encode(left)
	if err != nil {
		return nil // then it closes more
	}
	return body
}

func refOf(row record.Row) record.Ref {
	return record.Ref{Table: row.Table, Workspace: row.Workspace, ID: row.ID}
}
