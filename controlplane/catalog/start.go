package catalog

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/schema"
)

const (
	// DefaultName names the workspace and the environment that every database has.
	DefaultName = "default"

	tableWorkspaces   = "workspaces"
	tableEnvironments = "environments"
)

// Start makes what every database has: the workspace and the environment named "default". An environment's
// fingerprint key is random, so one that was sealed under a key which is gone for good, or was damaged, is made
// anew. While the keyring has no usable key the environment waits for the next start.
//
// It ends a migration from plaintext when none is left.
func (c *Catalog) Start(ctx context.Context) error {
	if _, err := c.ensure(ctx, tableWorkspaces, nil); err != nil {
		return fmt.Errorf("making the default workspace: %w", err)
	}
	_, err := c.ensure(ctx, tableEnvironments, newFingerprintKey)
	if fault.KindOf(err) == fault.Unavailable {
		c.options.Log.WarnContext(ctx, "the default environment cannot be made yet", "cause", err.Error())
		return nil
	}
	if err != nil {
		return fmt.Errorf("making the default environment: %w", err)
	}
	if err := c.refreshFingerprintKeys(ctx); err != nil {
		return err
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
