package fleetcmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
)

const tokensPath = "/clustering/join-tokens"

const inviteLong = `Makes a join token and prints the one line to run at the edge:

    $ keepgate-cp fleet invite --environment prod --name edge-7
    keepgate-dp join --control-plane cp.example:8005 --token kgj1.…

The token lets one data plane get one certificate, of that environment and, with --name, of that name. It is printed
once and kept as a hash. Whoever has it can be that data plane: hand it over as you would a password. The last part of
the token is the hash of this cluster's authority, by which the node knows the control plane before it says the token.

Without --name the node says what it is called, and cannot take the name of a data plane that is there. With --name it
replaces the one of that name, if there is one, and lets one come back that was revoked.`

// token is a join token as the Admin API shows it.
type token struct {
	ID, Environment, State, Token, Command string
	Name                                   string
	CreatedAt                              int64  `json:"created_at"`
	CreatedBy                              string `json:"created_by"`
	ExpiresAt                              int64  `json:"expires_at"`
	Used                                   *struct {
		At             int64
		From, Identity string
	}
}

// inviteCommand makes, lists and withdraws join tokens.
func inviteCommand(admin *adminclient.Options) *cobra.Command {
	cmd := &cobra.Command{Use: "invite --environment NAME", Short: "let a data plane join: prints the line to run there", Long: inviteLong, Args: cobra.NoArgs, SilenceUsage: true}
	environment := cmd.Flags().StringP("environment", "e", "", "the environment that it will belong to")
	name := cmd.Flags().String("name", "", "what it will be called (default: the node says)")
	expires := cmd.Flags().Duration("expires", time.Hour, "how long the token may wait to be used, at most 168h")
	asJSON := cmd.Flags().Bool("json", false, "print the answer of the Admin API")
	cobra.CheckErr(cmd.MarkFlagRequired("environment")) // the flag is there, some lines above
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *expires < time.Second {
			return errors.New("--expires is at least a second")
		}
		var made token
		var raw json.RawMessage
		err := call(cmd, admin, "POST", tokensPath, map[string]any{"environment": *environment, "name": *name, "expires": int64(*expires / time.Second)}, &raw)
		if err != nil {
			return err
		}
		if *asJSON {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", raw)
			return err
		}
		if err := json.Unmarshal(raw, &made); err != nil || made.Command == "" {
			return errors.New("the answer is not the Admin API's")
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "Run this at the edge, once, until %s (in %s). To take it back: keepgate-cp fleet withdraw %s\n",
			time.Unix(made.ExpiresAt, 0).UTC().Format(time.RFC3339), time.Until(time.Unix(made.ExpiresAt, 0)).Round(time.Second), made.ID)
		_, err = fmt.Fprintln(cmd.OutOrStdout(), made.Command)
		return err
	}
	return cmd
}

func invitationsCommand(admin *adminclient.Options) *cobra.Command {
	return &cobra.Command{
		Use: "invitations", Short: "show which join tokens there are, and what became of them", Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var page struct {
				Data          []token
				Undecryptable int
			}
			if err := call(cmd, admin, "GET", tokensPath, nil, &page); err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
			fmt.Fprintln(table, "ID\tENVIRONMENT\tNAME\tSTATE\tEXPIRES\tMADE BY\tUSED BY")
			for _, t := range page.Data {
				used := ""
				if t.Used != nil {
					used = fmt.Sprintf("%s from %s at %s", t.Used.Identity, t.Used.From, time.Unix(t.Used.At, 0).UTC().Format(time.RFC3339))
				}
				fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.Environment, t.Name, t.State, time.Unix(t.ExpiresAt, 0).UTC().Format(time.RFC3339), t.CreatedBy, used)
			}
			if page.Undecryptable > 0 {
				fmt.Fprintf(table, "%d more do not open\n", page.Undecryptable)
			}
			return table.Flush()
		},
	}
}

func withdrawCommand(admin *adminclient.Options) *cobra.Command {
	return &cobra.Command{
		Use: "withdraw TOKEN_ID", Short: "make a join token worthless that nobody has used", Args: cobra.ExactArgs(1), SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := call(cmd, admin, "DELETE", tokensPath+"/"+url.PathEscape(args[0]), nil, nil); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "withdrew join token %s\n", args[0])
			return err
		},
	}
}

// call sends a document, where there is one, and reads the answer.
func call(cmd *cobra.Command, admin *adminclient.Options, method, path string, document, into any) error {
	client, err := admin.Open()
	if err != nil {
		return err
	}
	var body []byte
	contentType := ""
	if document != nil {
		if body, err = json.Marshal(document); err != nil {
			return err
		}
		contentType = "application/json"
	}
	return client.Call(cmd.Context(), method, path, contentType, body, into)
}
