package catalog

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/record"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/schema"
)

const (
	// DefaultName names the workspace and the environment that every database has.
	DefaultName = "default"

	tableWorkspaces     = "workspaces"
	tableEnvironments   = "environments"
	fieldFingerprintKey = "fingerprint_key"
	fingerprintKeySize  = 32
	formerKeys          = 16 // names of lost fingerprint keys that are remembered
)

// Start makes what every database has: the workspace and the environment named "default". The
// environment's fingerprint key is random, so one that was sealed under a key which is gone for good, or was
// damaged, is made anew. While the keyring has no usable key the environment waits for the next start.
//
// It ends a migration from plaintext when none is left.
func (c *Catalog) Start(ctx context.Context) error {
	if _, err := c.ensure(ctx, tableWorkspaces, nil); err != nil {
		return fmt.Errorf("making the default workspace: %w", err)
	}
	row, err := c.ensure(ctx, tableEnvironments, newFingerprintKey)
	if fault.KindOf(err) == fault.Unavailable {
		c.options.Log.WarnContext(ctx, "the default environment cannot be made yet", "cause", err.Error())
		return nil
	}
	if err != nil {
		return fmt.Errorf("making the default environment: %w", err)
	}
	err = c.refreshFingerprintKey(ctx, row)
	if fault.KindOf(err) == fault.Unavailable { // the key that writes is missing: what there is serves on
		c.options.Log.WarnContext(ctx, "the default environment's fingerprint key is not sealed anew yet", "cause", err.Error())
		err = nil
	}
	if err != nil {
		return fmt.Errorf("renewing the default environment's fingerprint key: %w", err)
	}
	return c.endMigration(ctx)
}

// ensure returns the row named default, and makes it if there is none. Several nodes may do so at once.
func (c *Catalog) ensure(ctx context.Context, table string, finish func(proto.Message)) (record.Row, error) {
	e, err := c.entity("Start", table)
	if err != nil {
		return record.Row{}, err
	}
	row, err := c.store.ByUnique(ctx, table, "", "name", DefaultName)
	if fault.KindOf(err) != fault.NotFound {
		return row, err
	}
	m, err := c.schema.Build(e, nil, schema.Document{"name": DefaultName}, schema.Insert, nil)
	if err != nil {
		return record.Row{}, err
	}
	if finish != nil {
		finish(m)
	}
	if row, err = c.seal(e, "", m); err != nil {
		return record.Row{}, err
	}
	_, err = c.store.Apply(ctx, record.Batch{Changes: []record.Change{{Row: row}}})
	if _, taken := errors.AsType[*record.UniqueError](err); err != nil && !taken {
		return record.Row{}, err
	}
	return c.store.ByUnique(ctx, table, "", "name", DefaultName)
}

// newFingerprintKey gives an environment the key under which its data planes get key-auth keys. The name of the one
// before stays: data planes need that for credentials which do not open either and keep their last form.
func newFingerprintKey(m proto.Message) {
	environment, ok := m.(*configv1.Environment)
	if !ok {
		return // there is no other kind of environment
	}
	if id := environment.GetFingerprintKeyId(); id != "" {
		former := append([]string{id}, environment.GetFormerFingerprintKeyIds().GetValues()...)
		environment.FormerFingerprintKeyIds = &configv1.StringArray{Values: former[:min(len(former), formerKeys)]}
	}
	key := make([]byte, fingerprintKeySize)
	rand.Read(key) // never fails: crypto/rand ends the process instead
	environment.FingerprintKey = new(base64.StdEncoding.EncodeToString(key))
	environment.FingerprintKeyId = new(uuid.NewString())
}

// refreshFingerprintKey makes a key anew that is lost, and seals a stale one again. One that only cannot be
// opened now stays as it is.
func (c *Catalog) refreshFingerprintKey(ctx context.Context, row record.Row) error {
	o, err := c.open(row)
	if err != nil {
		return err
	}
	batch, stored := record.Batch{}, row.Sealed[fieldFingerprintKey]
	switch {
	case fault.KindOf(o.err) == fault.Corrupt && wholeInClear(stored):
		return nil // it is not damaged: this node is not told to read what others write in clear
	case c.cipher.Lost(stored), fault.KindOf(o.err) == fault.Corrupt:
		newFingerprintKey(o.message)
	case o.err == nil && o.stale:
		batch.Silent = true
	default:
		return nil
	}
	e, err := c.entity("Start", tableEnvironments)
	if err != nil {
		return err
	}
	sealed, err := c.seal(e, row.Workspace, o.message)
	if err != nil {
		return err
	}
	batch.Changes = []record.Change{{Row: sealed, Expect: row.Generation}}
	if _, err = c.store.Apply(ctx, batch); raced(err) { // another node did
		return nil
	}
	return err
}

// wholeInClear reports whether a stored text is a fingerprint key that nothing seals.
func wholeInClear(stored string) bool {
	key, err := base64.StdEncoding.DecodeString(stored)
	return err == nil && len(key) == fingerprintKeySize
}

func (c *Catalog) endMigration(ctx context.Context) error {
	if !c.cipher.Migrating() {
		return nil
	}
	count, err := c.Plaintexts(ctx)
	if err != nil {
		return fmt.Errorf("counting plaintext: %w", err)
	}
	if count > 0 {
		c.options.Log.WarnContext(ctx, "secrets that are to be sealed still rest in clear; writing a row seals it, and so does a re-encryption", "rows", count)
		return nil
	}
	if err := c.cipher.EndMigration(ctx); err != nil {
		return err
	}
	c.options.Log.WarnContext(ctx, "no secret that is to be sealed rests in clear any more: set keyring_migrate_plaintext = off, and take identity out of a file of providers")
	return nil
}

// Workspace returns the id of a workspace given by name or id; "" means the default one. An unknown one is
// a [Problem] with code [NotFound].
func (c *Catalog) Workspace(ctx context.Context, name string) (id string, err error) {
	if name == "" {
		name = DefaultName
	}
	e, err := c.entity("Workspace", tableWorkspaces)
	if err != nil {
		return "", err
	}
	row, err := c.find(ctx, "Workspace", e, "", name, nil)
	return row.ID, err
}
