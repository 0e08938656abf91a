package keyringcmd

import (
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
)

func vaultSync(admin *adminclient.Options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "vault-sync", Short: "read the keys in Vault again, for all control plane nodes (keyring_strategy = vault)", Args: cobra.NoArgs, SilenceUsage: true,
		Long: "Read all versions of the secret in Vault, and return when every control plane node holds their keys and the newest is the active one.\n\n" +
			"A rotation is: vault kv put a new version, vault-sync, reencrypt, and then delete the old version.",
	}
	file := cmd.Flags().String("token-file", "", "a file with a token to read Vault with, this once, in place of what the settings say; - is standard input")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		contentType, body := "", []byte(nil)
		if *file != "" {
			token, err := input(cmd, *file)
			if err != nil {
				return err
			}
			defer clear(token)
			contentType, body = form, []byte(url.Values{"token": {strings.TrimSpace(string(token))}}.Encode())
			defer clear(body)
		}
		if err := call(cmd, admin, "POST", "/keyring/vault/sync", contentType, body, nil); err != nil {
			return err
		}
		var l listing
		if err := call(cmd, admin, "GET", "/keyring", "", nil, &l); err != nil {
			return err
		}
		active := "none"
		if l.Active != nil {
			active = *l.Active
		}
		say(cmd, "every node holds the keys that are in Vault; active is %s", active)
		return nil
	}
	return cmd
}
