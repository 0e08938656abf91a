// Package keyringcmd is `keepgate-cp keyring`: the keys that seal the database, over the Admin API.
package keyringcmd

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
)

// Command returns the `keyring` command with its subcommands.
func Command() *cobra.Command {
	root := &cobra.Command{
		Use: "keyring", Short: "The keys that seal the database: status, generate, activate, recover", Args: cobra.NoArgs,
		Long: "The keys that seal the database, over a running control plane.\n\n" +
			"A rotation is: generate, activate the new key, write the secrets again. Old keys stay readable.",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	admin := &adminclient.Options{}
	admin.Flags(root)
	root.AddCommand(status(admin), generate(admin), activate(admin), recoverKeys(admin))
	return root
}

// listing is GET /keyring.
type listing struct {
	State, Strategy, Memory string
	Active                  *string
	Keys                    []struct {
		ID, State, Reason string
		CreatedAt         int64 `json:"created_at"`
	}
	Warnings []string
}

func status(admin *adminclient.Options) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "show the keys and what is missing", Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var l listing
			if err := call(cmd, admin, "GET", "/keyring", "", nil, &l); err != nil {
				return err
			}
			say(cmd, "keyring   %s, strategy %s, memory %s", l.State, l.Strategy, l.Memory)
			for _, key := range l.Keys {
				line := fmt.Sprintf("%s  %-8s  made %s", key.ID, key.State, time.Unix(key.CreatedAt, 0).UTC().Format(time.RFC3339))
				if key.Reason != "" {
					line += "  " + key.Reason
				}
				say(cmd, "%s", line)
			}
			for _, warning := range l.Warnings {
				say(cmd, "warning   %s", warning)
			}
			return nil
		},
	}
}

func generate(admin *adminclient.Options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "generate", Short: "make a key; it is not active until it is activated", Args: cobra.NoArgs, SilenceUsage: true,
	}
	show := cmd.Flags().Bool("show-material", false, "print the key itself too, this once, for your own backup")
	activate := cmd.Flags().Bool("activate", false, "activate it right away")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var made struct{ ID, Key string }
		if err := call(cmd, admin, "POST", "/keyring/generate", "", nil, &made); err != nil {
			return err
		}
		say(cmd, "id   %s", made.ID)
		if *show {
			say(cmd, "key  %s", made.Key)
		}
		if !*activate {
			return nil
		}
		return activateKey(cmd, admin, made.ID)
	}
	return cmd
}

func activate(admin *adminclient.Options) *cobra.Command {
	return &cobra.Command{
		Use: "activate ID", Short: "seal new values under this key from now on", Args: cobra.ExactArgs(1), SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error { return activateKey(cmd, admin, args[0]) },
	}
}

func activateKey(cmd *cobra.Command, admin *adminclient.Options, id string) error {
	body := []byte(url.Values{"key": {id}}.Encode())
	if err := call(cmd, admin, "POST", "/keyring/activate", "application/x-www-form-urlencoded", body, nil); err != nil {
		return err
	}
	say(cmd, "%s is active", id)
	return nil
}

func recoverKeys(admin *adminclient.Options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "recover", Short: "bring keys back with the recovery private key", Args: cobra.NoArgs, SilenceUsage: true,
	}
	file := cmd.Flags().String("key", "", "the private key of keyring_recovery_public_key (PEM file)")
	cobra.CheckErr(cmd.MarkFlagRequired("key")) // the flag is there, one line above
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		private, err := os.ReadFile(*file)
		if err != nil {
			return err
		}
		contentType, body, err := upload("recovery_private_key", private)
		if err != nil {
			return err
		}
		var result struct {
			Message      string
			Recovered    []string
			NotRecovered []string `json:"not_recovered"`
			Reasons      map[string]string
		}
		if err := call(cmd, admin, "POST", "/keyring/recover", contentType, body, &result); err != nil {
			return err
		}
		say(cmd, "%s", result.Message)
		for _, id := range result.NotRecovered {
			say(cmd, "%s  not recovered: %s", id, result.Reasons[id])
		}
		if len(result.NotRecovered) > 0 {
			return fmt.Errorf("keys that were not recovered: %d", len(result.NotRecovered))
		}
		return nil
	}
	return cmd
}

func upload(name string, content []byte) (contentType string, body []byte, err error) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part, err := w.CreateFormFile(name, name)
	if err == nil {
		_, err = part.Write(content)
	}
	if err == nil {
		err = w.Close()
	}
	return w.FormDataContentType(), b.Bytes(), err
}

func call(cmd *cobra.Command, admin *adminclient.Options, method, path, contentType string, body []byte, into any) error {
	client, err := admin.Open()
	if err != nil {
		return err
	}
	return client.Call(cmd.Context(), method, path, contentType, body, into)
}

func say(cmd *cobra.Command, format string, args ...any) {
	_, _ = fmt.Fprintf(cmd.OutOrStdout(), format+"\n", args...) // a closed pipe ends the process anyway
}
