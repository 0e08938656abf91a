// Package auditcmd is `keepgate-cp audit`: reading the journal of decisions, and finding out whether anybody
// changed it.
package auditcmd

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
)

// Command returns the `audit` command with its subcommands.
func Command() *cobra.Command {
	root := &cobra.Command{
		Use: "audit", Short: "The journal of decisions: list, verify", Args: cobra.NoArgs,
		Long: "The journal of decisions: who made, revealed, activated or removed a key, who changed what, who was refused.\n\n" +
			"It lies in the database, one chain a control plane node. verify finds entries that were edited, removed,\n" +
			"moved or put between, by the chains themselves and by the heads that the nodes hold apart from the database.",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	admin := &adminclient.Options{}
	admin.Flags(root)
	root.AddCommand(list(admin), verify(admin))
	return root
}

func say(cmd *cobra.Command, format string, args ...any) {
	_, _ = fmt.Fprintf(cmd.OutOrStdout(), format+"\n", args...) // a closed pipe ends the process anyway
}

// harmless shows control characters, which a journal that was tampered with could send to a terminal.
func harmless(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || !unicode.IsGraphic(r) {
			return '\uFFFD'
		}
		return r
	}, text)
}
