// Package databasecmd is the part of keepgate-cp's command line that works on the database itself: migrate up,
// migrate status, store show.
//
// It opens no secret: what store show prints is what lies in the database.
package databasecmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
)

// Open opens the database that the settings name; readOnly also while a control plane has it.
type Open func(ctx context.Context, s cpsettings.ControlPlane, readOnly bool) (record.Store, error)

// Commands are migrate and store.
func Commands(open Open) ([]*cobra.Command, error) {
	migrate := &cobra.Command{Use: "migrate", Short: "bring the database to this version, or say how far it is"}
	store := &cobra.Command{Use: "store", Short: "look at the database as it rests"}
	up := &cobra.Command{Use: "up", Short: "run the migrations that are pending", Args: cobra.NoArgs}
	status := &cobra.Command{Use: "status", Short: "say which migrations are pending", Args: cobra.NoArgs}
	show := &cobra.Command{
		Use: "show TABLE ID", Short: "print one row exactly as it is stored", Args: cobra.ExactArgs(2),
		Long:    "Print one row exactly as it is stored, column by column. Nothing is opened: what is sealed stays sealed.",
		Example: "  keepgate-cp store show basicauth_credentials fc46ce48-c1d6-4078-9f51-5a777350a8a2",
	}
	err := errors.Join(
		bind(up, open, false, runUp), bind(status, open, true, runStatus), bind(show, open, true, runShow),
	)
	migrate.AddCommand(up, status)
	store.AddCommand(show)
	return []*cobra.Command{migrate, store}, err
}

type action func(ctx context.Context, out io.Writer, store record.Store, args []string) error

// bind gives the command the settings' flags and runs do over the database that they name.
func bind(command *cobra.Command, open Open, readOnly bool, do action) error {
	var s cpsettings.ControlPlane
	flags, err := settings.Bind(command, &s)
	if err != nil {
		return err
	}
	command.SilenceUsage = true
	command.RunE = func(command *cobra.Command, args []string) (err error) {
		loaded, err := flags.Load(command.Context())
		if err != nil {
			return err
		}
		if err := named(loaded, s.Database); err != nil {
			return err
		}
		store, err := open(command.Context(), s, readOnly)
		if err != nil {
			return fmt.Errorf("opening the database: %w", err)
		}
		defer func() { err = errors.Join(err, store.Close()) }()
		return do(command.Context(), command.OutOrStdout(), store, args)
	}
	return nil
}

// named refuses to make a database that no setting speaks of: the settings of the node were forgotten, whose database
// is another one.
func named(loaded *settings.Loaded, database cpsettings.Database) error {
	said := slices.ContainsFunc(loaded.Settings, func(one settings.Setting) bool {
		return one.Origin != "default" && slices.Contains([]string{"database", "sqlite_path", "prefix"}, one.Key)
	})
	if _, err := os.Stat(database.SQLitePath); said || database.Engine != "sqlite" || !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fault.Newf(fault.Invalid, "cli", "database", "no setting says which database is meant, and the default, the file %s, does not exist. "+
		"Give the settings of the node (--conf FILE), or --database; --database sqlite makes that file", database.SQLitePath)
}

func runUp(ctx context.Context, out io.Writer, store record.Store, _ []string) error {
	before, err := store.Status(ctx)
	if err != nil {
		return err
	}
	if before.Current() {
		fmt.Fprintf(out, "database is of version %d: nothing to do\n", before.Stored)
		return nil
	}
	if err := store.Migrate(ctx); err != nil {
		return err
	}
	fmt.Fprintf(out, "database migrated from version %d to %d\n", before.Stored, before.Known)
	return nil
}

func runStatus(ctx context.Context, out io.Writer, store record.Store, _ []string) error {
	schema, err := store.Status(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "database version: %d\nknown version:    %d\n", schema.Stored, schema.Known)
	for _, name := range schema.Pending {
		fmt.Fprintf(out, "pending:          %s\n", name)
	}
	return nil
}

func runShow(ctx context.Context, out io.Writer, store record.Store, args []string) error {
	columns, values, err := store.Raw(ctx, args[0], args[1])
	if err != nil {
		return err
	}
	width := 0
	for _, name := range columns {
		width = max(width, len(name))
	}
	for i, name := range columns {
		fmt.Fprintf(out, "%s%s | %s\n", name, strings.Repeat(" ", width-len(name)), values[i])
	}
	return nil
}
