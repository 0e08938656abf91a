// Package reencryptcmd is `keepgate-cp keyring reencrypt`: writing every stale secret again, over the Admin API.
package reencryptcmd

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
)

const path = "/keyring/reencrypt"

// Command returns the `reencrypt` command for below `keyring`, which has the flags of admin.
func Command(admin *adminclient.Options) *cobra.Command {
	root := &cobra.Command{
		Use: "reencrypt", Short: "write every stale secret again, under the active key", Args: cobra.NoArgs, SilenceUsage: true,
		Long: "Writes every secret again that rests under an older key, or in clear: after a key was activated, or when a\n" +
			"database is encrypted for the first time. With --to plaintext it writes them in clear, so that the keyring can\n" +
			"be turned off; that needs keyring_decrypt_all = on, on every node.\n\n" +
			"It runs in the control plane, one at a time, while everything else goes on; this command starts it and may\n" +
			"watch. Its end is the database's own count of rows by key.",
	}
	var request struct {
		To        string `json:"to,omitempty"`
		Table     string `json:"table,omitempty"`
		Workspace string `json:"workspace,omitempty"`
		Rate      int    `json:"rate,omitempty"`
	}
	flags := root.Flags()
	flags.StringVar(&request.To, "to", "", "active or plaintext (default: as the control plane writes)")
	flags.StringVar(&request.Table, "table", "", "only this table, as keyauth_credentials")
	flags.StringVar(&request.Workspace, "workspace", "", "only this workspace, by name or id")
	flags.IntVar(&request.Rate, "rate", 0, "rows a second at most; 0 is no limit")
	watch := flags.Bool("watch", false, "show its progress until it ends")
	root.RunE = func(cmd *cobra.Command, _ []string) error {
		body, err := json.Marshal(request)
		if err != nil {
			return err
		}
		p, err := call(cmd, admin, "POST", path, body)
		if err != nil {
			return err
		}
		if *watch {
			return follow(cmd, admin, p)
		}
		say(cmd, "re-encryption %s runs; see it with: keepgate-cp keyring reencrypt status --watch", p.ID)
		return nil
	}
	root.AddCommand(status(admin), rate(admin))
	for name, short := range map[string]string{
		"pause": "hold it at its place", "resume": "go on where it was paused", "cancel": "end it; what was written stays written",
	} {
		root.AddCommand(turn(admin, name, short))
	}
	return root
}

func status(admin *adminclient.Options) *cobra.Command {
	cmd := &cobra.Command{Use: "status", Short: "show how far it is, or how it ended", Args: cobra.NoArgs, SilenceUsage: true}
	watch := cmd.Flags().Bool("watch", false, "go on until it ends")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		p, err := call(cmd, admin, "GET", path, nil)
		if err != nil {
			return err
		}
		if *watch {
			return follow(cmd, admin, p)
		}
		return show(cmd, p)
	}
	return cmd
}

func rate(admin *adminclient.Options) *cobra.Command {
	return &cobra.Command{
		Use: "rate ROWS", Short: "pace it: rows a second, 0 for no limit", Args: cobra.ExactArgs(1), SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := json.Marshal(map[string]string{"rate": args[0]})
			if err != nil {
				return err
			}
			p, err := call(cmd, admin, "PATCH", path, body)
			if err != nil {
				return err
			}
			say(cmd, "%s", line(p))
			return nil
		},
	}
}

func turn(admin *adminclient.Options, name, short string) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := call(cmd, admin, "POST", path+"/"+name, nil)
			if err != nil {
				return err
			}
			say(cmd, "%s", line(p))
			return nil
		},
	}
}

func call(cmd *cobra.Command, admin *adminclient.Options, method, path string, body []byte) (p progress, err error) {
	client, err := admin.Open()
	if err != nil {
		return p, err
	}
	contentType := ""
	if body != nil {
		contentType = "application/json"
	}
	return p, client.Call(cmd.Context(), method, path, contentType, body, &p)
}

func say(cmd *cobra.Command, format string, args ...any) {
	_, _ = fmt.Fprintf(cmd.OutOrStdout(), format+"\n", args...) // a closed pipe ends the process anyway
}
