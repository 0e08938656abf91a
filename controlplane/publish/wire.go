package publish

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/record"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/configset"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/schema"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/verifier"
)

const (
	tableEnvironments = "environments"
	tableWorkspaces   = "workspaces"
	tableKeyauth      = "keyauth_credentials"
	// tableFingerprintKeys is the kind of the entry that carries the environment's key; no such table exists.
	tableFingerprintKeys = "fingerprint_keys"
)

// wire makes the form in which entities of one environment travel. It is safe for concurrent use but for begin.
type wire struct {
	catalog Catalog
	schema  *schema.Schema

	row         record.Ref              // of the environment; no ID: there is none yet
	fingerprint *verifier.Fingerprinter // nil: the environment's key does not open
	locked      error                   // why not
	key         configset.Entry         // carries the key; no row stands for it
	former      []string                // names of keys before it that were lost
	home        string                  // id of the default workspace
}

// begin finds the environment among the rows and opens its fingerprint key. A key that does not open is no error.
func (w *wire) begin(ctx context.Context, rows []record.Row) error {
	*w = wire{catalog: w.catalog, schema: w.schema}
	w.locked = fault.Newf(fault.Unavailable, "publish", "environment/"+DefaultEnvironment, "there is no such environment yet")
	for _, row := range rows {
		if row.Table == tableWorkspaces && row.Unique["name"] == catalog.DefaultName {
			w.home = row.ID
		}
		if row.Table != tableEnvironments || row.Unique["name"] != DefaultEnvironment {
			continue
		}
		opened, err := w.catalog.Open(ctx, row)
		environment, ok := opened.(*configv1.Environment)
		if !ok {
			return fmt.Errorf("environment %q cannot be read: %w", DefaultEnvironment, err)
		}
		id := cmp.Or(environment.GetFingerprintKeyId(), environment.GetId())
		w.row, w.locked = refOf(row), err
		w.former = environment.GetFormerFingerprintKeyIds().GetValues()
		w.key = configset.Entry{Kind: tableFingerprintKeys, ID: id, Kept: err != nil}
		if err != nil {
			return nil
		}
		key, err := base64.StdEncoding.DecodeString(environment.GetFingerprintKey())
		if err != nil || len(key) != 32 {
			return fmt.Errorf("the fingerprint key of environment %q is not 32 bytes in base64", DefaultEnvironment)
		}
		w.key.Body, err = proto.MarshalOptions{Deterministic: true}.Marshal(&configv1.FingerprintKey{Id: w.key.ID, Key: key})
		if err != nil {
			return fmt.Errorf("encoding the fingerprint key: %w", err)
		}
		w.fingerprint = verifier.NewFingerprinter(secret.Take(key))
	}
	return nil
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
	return proto.MarshalOptions{Deterministic: true}.MarshalAppend(body, &syncv1.Placed{Workspace: &workspace})
}

// opens reports whether the environment's key opens by now.
func (w *wire) opens(ctx context.Context, store Store) bool {
	if w.row.ID == "" {
		return false // a revision tells when it is made
	}
	row, err := store.Get(ctx, w.row.Table, w.row.Workspace, w.row.ID)
	if err != nil {
		return false
	}
	_, err = w.catalog.Open(ctx, row)
	return err == nil
}

// keys are the entries that no row stands for.
func (w *wire) keys() []configset.Entry {
	if w.key.ID == "" {
		return nil
	}
	return []configset.Entry{w.key}
}

// concerns reports whether a changed row changes the form of all others.
func (w *wire) concerns(ref record.Ref) bool { return ref.Table == tableEnvironments }

// travels reports whether rows of a table reach data planes.
func (w *wire) travels(table string) bool {
	entity, known := w.schema.Entity(table)
	return known && entity.Travels()
}

// entry returns the form in which a row travels; false for rows that never do. With an error, which says why the row
// does not open, it is the form that has data planes keep what they have.
func (w *wire) entry(ctx context.Context, row record.Row) (configset.Entry, bool, error) {
	if !w.travels(row.Table) {
		return configset.Entry{}, false, nil
	}
	entry := configset.Entry{Kind: row.Table, ID: row.ID}
	entity, err := w.catalog.Open(ctx, row)
	if err == nil {
		entry.Body, err = w.body(entity)
	}
	if err != nil {
		entry.Kept, entry.Body = true, w.readable(entity)
	}
	placed, placeErr := w.place(entry.Body, row)
	if placeErr != nil {
		return entry, true, fmt.Errorf("encoding: %w", placeErr)
	}
	entry.Body = placed
	return entry, true, err
}

func (w *wire) body(entity proto.Message) ([]byte, error) {
	if credential, ok := entity.(*configv1.KeyauthCredential); ok {
		if w.fingerprint == nil {
			return nil, w.locked
		}
		if credential.GetKey() == "" {
			return nil, errors.New("the credential has no key")
		}
		sum := w.fingerprint.Sum(tableKeyauth, "key", credential.GetKey())
		credential.Fingerprints = []string{hex.EncodeToString(sum[:])}
		credential.Key = nil
	}
	body, err := w.schema.Wire(w.schema.EntityOf(entity), entity)
	if err != nil {
		return nil, fmt.Errorf("encoding: %w", err)
	}
	return body, nil
}

// readable is what a data plane that never held the entity needs of it to refuse what it protects: of a plugin, where it
// stands. Without any other entity nothing is open that should not be.
func (w *wire) readable(entity proto.Message) []byte {
	plugin, ok := entity.(*configv1.Plugin)
	if !ok {
		return nil
	}
	plugin.Config = nil
	body, err := w.schema.Wire(w.schema.EntityOf(plugin), plugin)
	if err != nil {
		return nil // then it closes more
	}
	return body
}
