// Package keyringcmd is `keepgate-cp keyring`: the keys that seal the database, over the Admin API, and what a
// recovery would bring, over the database alone.
package keyringcmd

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
	"github.com/keepgate/keepgate/controlplane/cli/reencryptcmd"
)

// Command returns the `keyring` command with its subcommands.
func Command(rehearse Rehearse) (*cobra.Command, error) {
	root := &cobra.Command{
		Use: "keyring", Short: "The keys that seal the database: status, rotation, export, recovery", Args: cobra.NoArgs,
		Long: "The keys that seal the database, over a running control plane.\n\n" +
			"A rotation is: generate --activate, reencrypt, remove the old key. Old keys open what they sealed until then.",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	admin := &adminclient.Options{}
	admin.Flags(root)
	rehearsal, err := rehearseCommand(rehearse)
	root.AddCommand(
		status(admin), generate(admin), importRaw(admin), activate(admin), deactivate(admin), remove(admin),
		exportKeys(admin), importKeys(admin), recoverKeys(admin), vaultSync(admin), rewrap(admin), rehearsal, reencryptcmd.Command(admin),
	)
	return root, err
}

// listing is GET /keyring.
type listing struct {
	State, Strategy string
	Active          *string
	Locked          bool `json:"memory_locked"`
	KMS             *plugin
	Keys            []struct {
		ID, State, Reason string
		CreatedAt         int64 `json:"created_at"`
		ActivatedAt       int64 `json:"activated_at"`
		Recoverable       bool
	}
	Warnings []string
}

// usage is GET /keyring/usage.
type usage struct {
	Data []struct {
		Key    string
		Rows   int
		Tables map[string]int
	}
}

func status(admin *adminclient.Options) *cobra.Command {
	cmd := &cobra.Command{Use: "status", Short: "show the keys, what is missing, and what rests under each", Args: cobra.NoArgs, SilenceUsage: true}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var l listing
		if err := call(cmd, admin, "GET", "/keyring", "", nil, &l); err != nil {
			return err
		}
		var u usage
		if err := call(cmd, admin, "GET", "/keyring/usage", "", nil, &u); err != nil {
			return err
		}
		memory := "may be swapped"
		if l.Locked {
			memory = "locked"
		}
		say(cmd, "keyring   %s, strategy %s, keys in memory %s", l.State, l.Strategy, memory)
		if k := l.KMS; k != nil {
			say(cmd, "plugin    %s", k.line())
		}
		for _, key := range l.Keys {
			line := fmt.Sprintf("%s  %-11s  made %s  %s", key.ID, key.State, stamp(key.CreatedAt), u.rows(key.ID))
			if key.Reason != "" {
				line += "  " + key.Reason
			}
			say(cmd, "%s", line)
		}
		if clear := u.rows(""); clear != "0 rows" {
			say(cmd, "in clear  %s", clear)
		}
		for _, warning := range l.Warnings {
			say(cmd, "warning   %s", warning)
		}
		return nil
	}
	return cmd
}

// rows says how many rows rest under a key, and where.
func (u usage) rows(key string) string {
	for _, entry := range u.Data {
		if entry.Key != key || entry.Rows == 0 {
			continue
		}
		var tables []string
		for table, rows := range entry.Tables {
			tables = append(tables, fmt.Sprintf("%s %d", table, rows))
		}
		slices.Sort(tables)
		return fmt.Sprintf("%d rows (%s)", entry.Rows, strings.Join(tables, ", "))
	}
	return "0 rows"
}

func stamp(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(time.RFC3339) }

func call(cmd *cobra.Command, admin *adminclient.Options, method, path, contentType string, body []byte, into any) error {
	client, err := admin.Open()
	if err != nil {
		return err
	}
	return client.Call(cmd.Context(), method, path, contentType, body, into)
}

// say writes a line, without what a terminal would take for a command: names of keys and nodes may come from anybody
// who writes the database.
func say(cmd *cobra.Command, format string, args ...any) {
	line := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, fmt.Sprintf(format, args...))
	_, _ = fmt.Fprintln(cmd.OutOrStdout(), line) // a closed pipe ends the process anyway
}
