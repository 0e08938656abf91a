package fleetcmd

import (
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
)

const revokeLong = `Shuts a data plane out: its links are cut on every control plane node within five seconds, NATS or not, and it is told by a
signed order to erase what it holds and to stop serving, at once or when it comes again. What its environment's
other data planes do is not touched.

Every certificate that it has now counts no more, whoever issued it. It comes back by an invitation of its name
(keepgate-cp fleet invite --name), or with a certificate that was issued later. What it held may have been read by
whoever took it: replace the secrets that it was given.`

// revokeCommand shuts a data plane out.
func revokeCommand(admin *adminclient.Options) *cobra.Command {
	cmd := &cobra.Command{Use: "revoke NODE", Short: "shut a data plane out, and have it erase what it holds", Long: revokeLong, Args: cobra.ExactArgs(1), SilenceUsage: true}
	environment := cmd.Flags().StringP("environment", "e", "", "the environment of NODE, where several have one of that name")
	reason := cmd.Flags().String("reason", "", "why, for the journal and for whoever looks after the node")
	unseen := cmd.Flags().Bool("unseen", false, "NODE never linked, and was certified elsewhere; needs --environment")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		document := map[string]any{"environment": *environment, "reason": *reason, "unseen": *unseen}
		var done struct {
			Environment, Name string
			RevokedAt         int64 `json:"revoked_at"`
		}
		if err := call(cmd, admin, "POST", "/clustering/data-planes/"+url.PathEscape(args[0])+"/revoke", document, &done); err != nil {
			return err
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "revoked %s of environment %s at %s\n", done.Name, done.Environment, time.Unix(done.RevokedAt, 0).UTC().Format(time.RFC3339))
		return err
	}
	return cmd
}
