// Package wire makes the form in which rows travel to data planes: the least secret that does their job, under the keys of each
// environment.
//
// Key-auth keys leave as fingerprints under the environment's own key, passwords as the hashes they are stored as, fields of the control
// plane not at all. A row that does not open travels as kept: data planes go on with the last form that they have of it.
package wire

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/publish/facts"
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
	tableKeyauth      = "keyauth_credentials"
	// FingerprintKeys is the kind of the entry that carries an environment's key; no such table exists.
	FingerprintKeys = "fingerprint_keys"
)

// Wire makes the form in which entities travel. It is safe for concurrent use.
type Wire struct {
	catalog      Catalog
	schema       *schema.Schema
	Home         string         // id of the default workspace
	Environments []*Environment // by name
	Incomplete   bool           // some environment names a workspace that is not there
}

// Catalog opens the secrets of a stored row.
type Catalog interface {
	// Open returns what can be read also where a secret does not open: fault.Unavailable with the subject "key/<id>"
	// while the key is missing.
	Open(ctx context.Context, row record.Row) (proto.Message, error)
}

// Form is a row as it travels.
type Form struct {
	entry     configset.Entry
	different []configset.Entry // by environment, where they get it in different forms; else nil
}

// In returns the form for one environment.
func (f *Form) In(environment int) configset.Entry {
	if f.different != nil {
		return f.different[environment]
	}
	return f.entry
}

// Travels reports whether rows of a table reach data planes.
func (w *Wire) Travels(table string) bool {
	entity, known := w.schema.Entity(table)
	return known && entity.Travels()
}

// Form returns the form in which a row of a table that travels does so, and what counts of it. With an error, which says
// why the row does not open, it is the form that has data planes keep what they have.
func (w *Wire) Form(ctx context.Context, row record.Row, before *selection.Row) (*Form, *selection.Row, error) {
	f := &Form{entry: configset.Entry{Kind: row.Table, ID: row.ID}}
	entity, err := w.catalog.Open(ctx, row)
	counts := facts.Of(w.schema, row, entity, before)
	counts.Unread = err != nil && facts.Refers(row.Table)
	if err == nil {
		if credential, ok := entity.(*configv1.KeyauthCredential); ok {
			return f, counts, w.fingerprinted(f, row, credential)
		}
		f.entry.Body, err = w.encode(entity)
	}
	if err != nil {
		f.entry.Kept, f.entry.Body = true, w.readable(entity)
	}
	placed, placeErr := w.place(f.entry.Body, row)
	if placeErr != nil {
		return f, counts, placeErr
	}
	f.entry.Body = placed
	return f, counts, err
}

// fingerprinted makes the forms of an API key: a fingerprint under each key of each environment.
func (w *Wire) fingerprinted(f *Form, row record.Row, credential *configv1.KeyauthCredential) (why error) {
	key := credential.GetKey()
	credential.Key = nil
	f.different = make([]configset.Entry, len(w.Environments))
	for i, e := range w.Environments {
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

func (w *Wire) printed(e *Environment, credential *configv1.KeyauthCredential, key string) ([]byte, error) {
	if e.current.printer == nil {
		return nil, e.Locked
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

func (w *Wire) encode(entity proto.Message) ([]byte, error) {
	body, err := w.schema.Wire(w.schema.EntityOf(entity), entity)
	if err != nil {
		return nil, fmt.Errorf("encoding: %w", err)
	}
	return body, nil
}

// place appends to the form of an entity which workspace it belongs to: data planes keep workspaces apart.
func (w *Wire) place(body []byte, row record.Row) ([]byte, error) {
	if entity, known := w.schema.Entity(row.Table); !known || !entity.Workspaced {
		return body, nil
	}
	workspace := row.Workspace
	if workspace == w.Home {
		workspace = catalog.DefaultName
	}
	placed, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(body, &syncv1.Placed{Workspace: &workspace})
	if err != nil {
		return nil, fmt.Errorf("encoding: %w", err)
	}
	return placed, nil
}

// readable encodes what a data plane needs of an entity that does not open; see withoutSecrets.
func (w *Wire) readable(entity proto.Message) []byte {
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

// withoutSecrets is what a data plane that never held the entity needs of it to refuse what it protects, or what it would
// be asked for: of a plugin, where it stands; of an entry, which it is. Without any other entity nothing is open that should
// not be.
func withoutSecrets(entity proto.Message) proto.Message {
	switch m := entity.(type) {
	case *configv1.Plugin:
		m.Config = nil
		return m
	case *configv1.KeyValueEntry:
		m.Value = nil
		return m
	case *configv1.KeyValueMap:
		return m
	}
	return nil
}
