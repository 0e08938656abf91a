package rbaccmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
)

// made is what answers with a token.
type made struct {
	Token string `json:"user_token"`
}

func add(admin *adminclient.Options) *cobra.Command {
	var comment, role, workspace, expires string
	cmd := &cobra.Command{
		Use: "add NAME", Short: "make a user and print their token, this once", Args: cobra.ExactArgs(1), SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := admin.Open()
			if err != nil {
				return err
			}
			body, err := json.Marshal(map[string]any{"name": args[0], "comment": comment, "expires": until(expires, time.Now())})
			if err != nil {
				return fmt.Errorf("writing the request: %w", err)
			}
			var m made
			if err := client.Call(cmd.Context(), "POST", "/rbac/users", "application/json", body, &m); err != nil {
				return about(err, http.StatusConflict, "keepgate-cp rbac token "+args[0]+" makes them another token, and rbac grant gives a role")
			}
			if role != "" {
				err = withRole(cmd, client, args[0], role, workspace)
			}
			if unmade, ok := errors.AsType[*withoutUser](err); ok {
				return unmade.error
			}
			fmt.Fprintln(cmd.OutOrStdout(), m.Token)
			return err
		},
	}
	cmd.Flags().StringVar(&comment, "comment", "", "a word about the user")
	cmd.Flags().StringVar(&expires, "expires", "never", expiresHelp)
	cmd.Flags().StringVar(&role, "role", "", "the user's role: viewer, editor, keyring-admin or super-admin")
	cmd.Flags().StringVar(&workspace, "workspace", "", "where the role holds (default: the workspace \"default\"; * is everywhere)")
	return cmd
}

// withoutUser is why a user got no role, and so was not made.
type withoutUser struct{ error }

// withRole gives a user who was just made their first role, or takes the user back: one without a role could do nothing, and their
// name would be taken when the command is repeated.
func withRole(cmd *cobra.Command, client *adminclient.Client, name, role, workspace string) error {
	err := give(cmd, client, "POST", name, role, workspace)
	if err == nil {
		return nil
	}
	if client.Call(cmd.Context(), "DELETE", "/rbac/users/"+url.PathEscape(name), "", nil, nil) == nil {
		return &withoutUser{err}
	}
	return fmt.Errorf("the user was made, but not given the role %s: %w", role, err)
}

// about adds what to do to a refusal of one kind.
func about(err error, status int, advice string) error {
	if refusal, ok := errors.AsType[*adminclient.Refusal](err); ok && refusal.Status == status {
		return fmt.Errorf("%w; %s", err, advice)
	}
	return err
}

// unknown is a refusal that finds no user: the Admin API, like Kong's, does not say what was not found.
func unknown(err error, name string) error {
	if refusal, ok := errors.AsType[*adminclient.Refusal](err); ok && refusal.Status == http.StatusNotFound && refusal.Message == "Not found" {
		return fmt.Errorf("there is no user %q; keepgate-cp rbac list shows who is there", name)
	}
	return err
}
