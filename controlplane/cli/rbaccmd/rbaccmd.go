// Package rbaccmd is `keepgate-cp rbac`: who administers and what each may, over the Admin API.
package rbaccmd

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
)

const long = `Who administers, and what each may, where enforce_rbac is on.

The first user is made with the one-time token that a start leaves in rbac_first_token_file. Whoever can read
admin_token_file on a control plane's machine can make users and tokens there, so that nobody is locked out:

  keepgate-cp rbac add ann --admin-token-file /var/lib/keepgate/rbac-first.token
  keepgate-cp rbac token ann --admin-token-file /var/lib/keepgate/admin.token`

// Command returns the `rbac` command with its subcommands.
func Command() *cobra.Command {
	root := &cobra.Command{
		Use: "rbac", Short: "Who administers: list, add, grant, revoke, token, remove", Long: long, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	admin := &adminclient.Options{}
	admin.Flags(root)
	root.AddCommand(list(admin), add(admin), turn(admin, "grant", "POST", "give a user a role"), turn(admin, "revoke", "DELETE", "take a role from a user"),
		token(admin), remove(admin))
	return root
}

// grants is GET /rbac/users/{user}/roles.
type grants struct {
	Roles []struct {
		Name  string
		Where string `json:"workspace_name"`
	}
}

// user is one of GET /rbac/users.
type user struct {
	ID, Name, Comment string
	Enabled           bool
	Expires           int64
}

func (u user) write(cmd *cobra.Command, client *adminclient.Client, table io.Writer) error {
	var g grants
	if err := client.Call(cmd.Context(), "GET", "/rbac/users/"+url.PathEscape(u.ID)+"/roles", "", nil, &g); err != nil {
		return err
	}
	var roles []string
	for _, r := range g.Roles {
		roles = append(roles, r.Name+"@"+r.Where)
	}
	slices.Sort(roles)
	expires := "never"
	if u.Expires != 0 {
		expires = time.Unix(u.Expires, 0).UTC().Format(time.RFC3339)
	}
	_, err := fmt.Fprintf(table, "%s\t%t\t%s\t%s\t%s\n", strconv.QuoteToGraphic(u.Name), u.Enabled, expires, strings.Join(roles, " "), strconv.QuoteToGraphic(u.Comment))
	return err
}

func list(admin *adminclient.Options) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "show users and their roles", Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := admin.Open()
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
			fmt.Fprintln(table, "USER\tENABLED\tEXPIRES\tROLES\tCOMMENT")
			for next := "/rbac/users?size=1000"; next != ""; {
				var page struct {
					Data []user
					Next string
				}
				if err := client.Call(cmd.Context(), "GET", next, "", nil, &page); err != nil {
					return err
				}
				for _, u := range page.Data {
					if err := u.write(cmd, client, table); err != nil {
						return err
					}
				}
				next = page.Next
			}
			return table.Flush()
		},
	}
}

const expiresHelp = "until when the token holds: a duration from now (720h), a date (2027-01-31T00:00:00Z) or never"

// until reads a duration from now, or passes on what the Admin API reads; never is null.
func until(text string, now time.Time) any {
	if text == "never" {
		return nil
	}
	if lasts, err := time.ParseDuration(text); err == nil {
		return now.Add(lasts).Unix()
	}
	return text
}

func turn(admin *adminclient.Options, name, method, short string) *cobra.Command {
	var workspace string
	cmd := &cobra.Command{
		Use: name + " NAME ROLE", Short: short, Args: cobra.ExactArgs(2), SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := admin.Open()
			if err != nil {
				return err
			}
			return give(cmd, client, method, args[0], args[1], workspace)
		},
	}
	cmd.Flags().StringVar(&workspace, "workspace", "", "where the role holds (default: the workspace \"default\"; * is everywhere)")
	return cmd
}

func give(cmd *cobra.Command, client *adminclient.Client, method, name, role, workspace string) error {
	body, err := json.Marshal(map[string]any{"roles": role, "workspace": workspace})
	if err != nil {
		return fmt.Errorf("writing the request: %w", err)
	}
	return unknown(client.Call(cmd.Context(), method, "/rbac/users/"+url.PathEscape(name)+"/roles", "application/json", body, nil), name)
}

func token(admin *adminclient.Options) *cobra.Command {
	var expires string
	cmd := &cobra.Command{
		Use: "token NAME", Short: "make a user another token and print it, this once; the one before is worth nothing then", Args: cobra.ExactArgs(1), SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := admin.Open()
			if err != nil {
				return err
			}
			said := map[string]any{}
			if expires != "" {
				said["expires"] = until(expires, time.Now())
			}
			body, err := json.Marshal(said)
			if err != nil {
				return fmt.Errorf("writing the request: %w", err)
			}
			var m made
			if err := client.Call(cmd.Context(), "POST", "/rbac/users/"+url.PathEscape(args[0])+"/token", "application/json", body, &m); err != nil {
				return unknown(err, args[0])
			}
			fmt.Fprintln(cmd.OutOrStdout(), m.Token)
			return nil
		},
	}
	cmd.Flags().StringVar(&expires, "expires", "", expiresHelp+" (default: as the one before)")
	return cmd
}

func remove(admin *adminclient.Options) *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "remove a user", Args: cobra.ExactArgs(1), SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := admin.Open()
			if err != nil {
				return err
			}
			path := "/rbac/users/" + url.PathEscape(args[0])
			if err := client.Call(cmd.Context(), "GET", path, "", nil, nil); err != nil { // a DELETE, as Kong's, is content with a name that nobody has
				return unknown(err, args[0])
			}
			return client.Call(cmd.Context(), "DELETE", path, "", nil, nil)
		},
	}
}
