package keyringcmd

import (
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
)

const form = "application/x-www-form-urlencoded"

func generate(admin *adminclient.Options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "generate", Short: "make a key; it is not active until it is activated", Args: cobra.NoArgs, SilenceUsage: true,
	}
	show := cmd.Flags().Bool("show-material", false, "print the key itself too, this once, for your own backup")
	active := cmd.Flags().Bool("activate", false, "activate it right away")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		path := "/keyring/generate?reveal=0"
		if *show {
			path = "/keyring/generate?reveal=1"
		}
		var made struct{ ID, Key string }
		if err := call(cmd, admin, "POST", path, "", nil, &made); err != nil {
			return err
		}
		say(cmd, "id   %s", made.ID)
		if *show {
			say(cmd, "key  %s", made.Key)
		}
		if !*active {
			return nil
		}
		return post(cmd, admin, "activate", made.ID, false, "is active")
	}
	return cmd
}

func importRaw(admin *adminclient.Options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "import-raw ID", Short: "bring in a key of your own, or one that is missing or was removed", Args: cobra.ExactArgs(1), SilenceUsage: true,
	}
	file := cmd.Flags().String("key-file", "", "a file with base64 of the key's 32 bytes; - is standard input")
	cobra.CheckErr(cmd.MarkFlagRequired("key-file")) // the flag is there, one line above
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		text, err := input(cmd, *file)
		if err != nil {
			return err
		}
		body := []byte(url.Values{"id": {args[0]}, "data": {strings.TrimSpace(string(text))}}.Encode())
		if err := call(cmd, admin, "POST", "/keyring/import/raw", form, body, nil); err != nil {
			return err
		}
		say(cmd, "%s is held", args[0])
		return nil
	}
	return cmd
}

func activate(admin *adminclient.Options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "activate ID", Short: "seal new values under this key from now on", Args: cobra.ExactArgs(1), SilenceUsage: true,
		Long: "Seal new values under this key from now on. It waits until every control plane node that lives holds the key.",
	}
	force := cmd.Flags().Bool("force", false, "do not wait for nodes that lack the key: they cannot read what is sealed under it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return post(cmd, admin, "activate", args[0], *force, "is active")
	}
	return cmd
}

func deactivate(admin *adminclient.Options) *cobra.Command {
	return &cobra.Command{
		Use: "deactivate ID", Short: "let a key that is not active seal no more; it opens still", Args: cobra.ExactArgs(1), SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return post(cmd, admin, "deactivate", args[0], false, "seals no more")
		},
	}
}

func remove(admin *adminclient.Options) *cobra.Command {
	return &cobra.Command{
		Use: "remove ID", Short: "forget a key that nothing is sealed under", Args: cobra.ExactArgs(1), SilenceUsage: true,
		Long: "Forget a key on every node and in the database. It is refused while anything is sealed under the key: reencrypt first.\n" +
			"An export that has the key can bring it back.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return post(cmd, admin, "remove", args[0], false, "is removed")
		},
	}
}

// post changes one key.
func post(cmd *cobra.Command, admin *adminclient.Options, what, id string, force bool, done string) error {
	values := url.Values{"key": {id}}
	if force {
		values.Set("force", "1")
	}
	if err := call(cmd, admin, "POST", "/keyring/"+what, form, []byte(values.Encode()), nil); err != nil {
		return err
	}
	say(cmd, "%s %s", id, done)
	return nil
}

// input reads a file, or standard input for "-".
func input(cmd *cobra.Command, path string) ([]byte, error) {
	if path == "-" {
		return readAll(cmd.InOrStdin())
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readAll(file)
}
