package keyringcmd

import (
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
)

func rewrap(admin *adminclient.Options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "rewrap", Short: "wrap the keys under the KMS plugin's present key_id (keyring_strategy = kms)", Args: cobra.NoArgs, SilenceUsage: true,
		Long: "Wrap the material of every key again, under the key_id that the KMS plugin says now. The keys stay what they are, and no row is written:\n" +
			"afterwards nothing here needs the plugin's older keys. A copy of the database from before still does.\n\n" +
			"reencrypt moves the rows to the active key, after which the older keys can be removed here.",
	}
	provider := cmd.Flags().String("provider", "", "the name of a KMS v2 provider of encryption_provider_config, in place of the keyring")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		values := url.Values{}
		if *provider != "" {
			values.Set("provider", *provider)
		}
		var result struct{ Rewrapped, Left []string }
		if err := call(cmd, admin, "POST", "/keyring/rewrap", form, []byte(values.Encode()), &result); err != nil {
			return err
		}
		say(cmd, "wrapped again: %s", listed(result.Rewrapped))
		if len(result.Left) > 0 {
			say(cmd, "left, since this node lacks them: %s", listed(result.Left))
		}
		return nil
	}
	return cmd
}

func listed(ids []string) string {
	if len(ids) == 0 {
		return "none"
	}
	return strings.Join(ids, ", ")
}

// plugin is how the KMS plugin is that wraps the keys.
type plugin struct {
	Endpoint, Text   string
	Healthy, Sealing bool
	KeyIDHash        string `json:"key_id_hash"`
	WaitingFor       string `json:"waiting_for"`
}

func (p plugin) line() string {
	line := "healthy"
	if !p.Healthy {
		line = "not healthy"
	}
	if !p.Sealing {
		line += ", nothing is encrypted"
	}
	line += ", " + p.Endpoint
	if p.KeyIDHash != "" {
		line += ", key_id " + p.KeyIDHash
	}
	if p.Text != "" {
		line += ": " + p.Text
	}
	if p.WaitingFor != "" && p.WaitingFor != p.Text {
		line += "; " + p.WaitingFor
	}
	return line
}
