// Package storecmd is `keepgate-dp store`: it says how this node's local store is sealed.
package storecmd

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/dataplane/localstore"
	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/settings/dpsettings"
)

const long = `Counts what lies in the local store by class, scope and key, and what lies there in clear. It reads the headers of files
alone: it needs no key, changes nothing, and may run beside keepgate-dp.

  snapshot  the whole configuration; values are entities
  journal   the changes since; of these only their number can be told without a key

Two generations are kept, the newer one first. With --check the exit status is 1 when anything is in clear.`

// Command returns the `store` command with its subcommands.
func Command() (*cobra.Command, error) {
	root := &cobra.Command{
		Use: "store", Short: "The local store of this node", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var s dpsettings.DataPlane
	var asJSON, check bool
	status := &cobra.Command{Use: "status", Short: "Count values by class, scope, key and plaintext", Long: long, Args: cobra.NoArgs, SilenceUsage: true}
	flags, err := settings.Bind(status, &s)
	status.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	status.Flags().BoolVar(&check, "check", false, "fail when anything is in clear")
	status.RunE = func(cmd *cobra.Command, _ []string) error {
		if _, err := flags.Read(); err != nil {
			return err
		}
		return show(cmd.OutOrStdout(), s.Store.Folder, asJSON, check)
	}
	root.AddCommand(status)
	return root, err
}

func show(out io.Writer, dir string, asJSON, check bool) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no local store in %s: set prefix or local_store as keepgate-dp run has it", dir)
	}
	usage, err := localstore.Look(dir)
	if err != nil {
		return err
	}
	if asJSON {
		err = json.NewEncoder(out).Encode(document(usage))
	} else {
		err = table(out, usage)
	}
	if err != nil {
		return err
	}
	if values, changes := usage.Clear(); check && (values > 0 || changes > 0 || len(usage.ClearFiles) > 0) {
		return fmt.Errorf("%d values and %d changes are in clear, and %d files that are not read", values, changes, len(usage.ClearFiles))
	}
	return nil
}

// by is what seals a use.
func by(use localstore.Use) string {
	switch {
	case use.Mode == localstore.Off:
		return "clear"
	case use.Scoped:
		return "scoped"
	}
	return "derived"
}

func table(out io.Writer, usage localstore.Usage) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FILE\tCLASS\tSCOPE\tSEALED BY\tKEY ID\tVALUES\tCHANGES")
	for i := len(usage.Uses) - 1; i >= 0; i-- { // names rise with generations
		use := usage.Uses[i]
		values, changes := fmt.Sprint(use.Values), "-"
		if strings.HasPrefix(use.File, "journal-") {
			values, changes = "-", fmt.Sprint(use.Changes)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", use.File, use.Section.Class, cmp.Or(use.Section.Scope, "-"), by(use), cmp.Or(use.KeyID, "-"), values, changes)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	values, changes := usage.Clear()
	fmt.Fprintf(out, "\nin clear: %d values, %d changes\n", values, changes)
	for _, list := range []struct {
		what  string
		names []string
	}{{"set aside, never read again", usage.Aside}, {"unfinished", usage.Unfinished}, {"cannot be read to its end", usage.Unreadable}, {"of these in clear", usage.ClearFiles}} {
		for _, name := range list.names {
			fmt.Fprintf(out, "%s: %s\n", list.what, name)
		}
	}
	if usage.Keys {
		fmt.Fprintln(out, "scoped keys are remembered here, sealed by the node's own key")
	}
	return nil
}

func document(usage localstore.Usage) map[string]any {
	stored := []any{}
	for _, use := range usage.Uses {
		stored = append(stored, map[string]any{
			"file": use.File, "class": use.Section.Class, "scope": use.Section.Scope, "mode": use.Mode, "sealed_by": by(use), "key_id": use.KeyID,
			"values": use.Values, "changes": use.Changes,
		})
	}
	values, changes := usage.Clear()
	return map[string]any{
		"store": stored, "clear": map[string]any{"values": values, "changes": changes, "files": orEmpty(usage.ClearFiles)}, "aside": orEmpty(usage.Aside),
		"unfinished": orEmpty(usage.Unfinished), "unreadable": orEmpty(usage.Unreadable), "remembered_keys": usage.Keys,
	}
}

func orEmpty(list []string) []string { return append([]string{}, list...) }
