// Package fleetcmd is `keepgate-cp fleet`: the data planes as the control plane sees them, over the Admin API.
package fleetcmd

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
)

// Command returns the `fleet` command with its subcommands.
func Command() *cobra.Command {
	root := &cobra.Command{
		Use: "fleet", Short: "The data planes: list, show, wait, invite, revoke, authority, accept-restore", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	admin := &adminclient.Options{}
	admin.Flags(root)
	root.AddCommand(
		listCommand(admin), showCommand(admin), waitCommand(admin), inviteCommand(admin), invitationsCommand(admin), withdrawCommand(admin),
		revokeCommand(admin), authorityCommand(admin), acceptCommand(admin),
	)
	return root
}

func acceptCommand(admin *adminclient.Options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "accept-restore", Short: "let data planes take a restored database's older configuration", Args: cobra.NoArgs, SilenceUsage: true,
		Long: "A data plane never goes back to an older configuration by itself. After the database was restored from a\n" +
			"backup, data planes hold more than it does and are shown as \"ahead\". This raises the epoch, so that all of\n" +
			"them take what the database holds now, and lose what was changed after the backup.",
	}
	sure := cmd.Flags().Bool("yes", false, "this is meant")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if !*sure {
			return fmt.Errorf("every data plane would take this database's configuration; say --yes if that is meant")
		}
		client, err := admin.Open()
		if err != nil {
			return err
		}
		var answer struct {
			Epoch   uint64
			Message string
		}
		if err := client.Call(cmd.Context(), "POST", "/clustering/accept-restore", "", nil, &answer); err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "epoch %d: %s\n", answer.Epoch, answer.Message)
		return err
	}
	return cmd
}
