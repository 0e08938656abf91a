package keyringcmd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
)

// maxInput bounds what is read of a file, in bytes.
const maxInput = 1 << 20

// Rehearse says what a recovery with a private key would bring, and changes nothing.
type Rehearse func(ctx context.Context, s cpsettings.ControlPlane, privatePEM []byte, accept []string) (keyring.Recovered, error)

func exportKeys(admin *adminclient.Options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "export", Short: "write all keys to a file, encrypted to keyring_public_key", Args: cobra.NoArgs, SilenceUsage: true,
	}
	out := cmd.Flags().String("out", "", "the file, made with mode 0600; - is standard output")
	cobra.CheckErr(cmd.MarkFlagRequired("out")) // the flag is there, one line above
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var answer struct{ Data string }
		if err := call(cmd, admin, "POST", "/keyring/export", "", nil, &answer); err != nil {
			return err
		}
		if *out == "-" {
			say(cmd, "%s", answer.Data)
			return nil
		}
		err := durable.Replace(*out, 0o600, func(w io.Writer) error {
			_, err := io.WriteString(w, answer.Data+"\n")
			return err
		})
		if err == nil {
			say(cmd, "the keyring is in %s; only the private half of keyring_public_key opens it", *out)
		}
		return err
	}
	return cmd
}

func importKeys(admin *adminclient.Options) *cobra.Command {
	return &cobra.Command{
		Use: "import FILE", Short: "bring back exported keys; the control plane opens them with keyring_private_key", Args: cobra.ExactArgs(1), SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := input(cmd, args[0])
			if err != nil {
				return err
			}
			contentType, body, err := upload("data", text)
			if err != nil {
				return err
			}
			var result struct {
				Active      string
				Imported    []string
				NotImported []string `json:"not_imported"`
				Reasons     map[string]string
			}
			if err := call(cmd, admin, "POST", "/keyring/import", contentType, body, &result); err != nil {
				return err
			}
			say(cmd, "imported %s; active is %s", strings.Join(result.Imported, " "), result.Active)
			return left(cmd, "not imported", result.NotImported, result.Reasons)
		},
	}
}

func recoverKeys(admin *adminclient.Options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "recover", Short: "bring keys back with the recovery private key", Args: cobra.NoArgs, SilenceUsage: true,
	}
	file, accept := privateFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		private, err := input(cmd, *file)
		if err != nil {
			return err
		}
		defer clear(private)
		contentType, body, err := upload("recovery_private_key", private, "accept_unproven", strings.Join(*accept, ","))
		if err != nil {
			return err
		}
		var result struct {
			Message      string
			Active       string
			NotRecovered []string `json:"not_recovered"`
			Reasons      map[string]string
		}
		if err := call(cmd, admin, "POST", "/keyring/recover", contentType, body, &result); err != nil {
			return err
		}
		say(cmd, "%s", result.Message)
		if result.Active == "" {
			say(cmd, "the active key is still missing, so that secrets cannot be written")
		}
		return left(cmd, "not recovered", result.NotRecovered, result.Reasons)
	}
	return cmd
}

func rehearseCommand(rehearse Rehearse) (*cobra.Command, error) {
	cmd := &cobra.Command{
		Use: "rehearse", Short: "say what a recovery would bring, without one", Args: cobra.NoArgs, SilenceUsage: true,
		Long: "Read the keyring's rows in the database that the settings name, open each with the recovery private key, in memory,\n" +
			"and say which keys a recovery would bring. Nothing is changed, and the private key goes nowhere. Run it every week.",
	}
	file, accept := privateFlags(cmd)
	var s cpsettings.ControlPlane
	flags, err := settings.Bind(cmd, &s)
	if err != nil {
		return nil, err
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if _, err := flags.Load(cmd.Context()); err != nil {
			return err
		}
		private, err := input(cmd, *file)
		if err != nil {
			return err
		}
		defer clear(private)
		result, err := rehearse(cmd.Context(), s, private, *accept)
		if err != nil {
			return err
		}
		active := result.Active
		if active == "" {
			active = "none, so that secrets could not be written"
		}
		say(cmd, "would recover %d keys: %s; active would be %s", len(result.Recovered), strings.Join(result.Recovered, " "), active)
		return left(cmd, "would not be recovered", result.NotRecovered, result.Reasons)
	}
	return cmd, nil
}

func privateFlags(cmd *cobra.Command) (file *string, accept *[]string) {
	file = cmd.Flags().String("key", "", "the private key of keyring_recovery_public_key (PEM file); - is standard input")
	accept = cmd.Flags().StringSlice("accept-unproven", nil, "ids of keys to take although no control plane node proves their rows: you know that nobody planted them")
	cobra.CheckErr(cmd.MarkFlagRequired("key")) // the flag is there, two lines above
	return file, accept
}

// left names the keys that did not come back, and fails if there are any.
func left(cmd *cobra.Command, what string, ids []string, reasons map[string]string) error {
	for _, id := range ids {
		say(cmd, "%s  %s: %s", id, what, reasons[id])
	}
	if len(ids) > 0 {
		return fmt.Errorf("keys %s: %d", what, len(ids))
	}
	return nil
}

// upload makes a multipart body of a file, and of further names and values; empty values are left out.
func upload(name string, content []byte, more ...string) (contentType string, body []byte, err error) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part, err := w.CreateFormFile(name, name)
	if err == nil {
		_, err = part.Write(content)
	}
	for i := 0; err == nil && i+1 < len(more); i += 2 {
		if more[i+1] != "" {
			err = w.WriteField(more[i], more[i+1])
		}
	}
	if err == nil {
		err = w.Close()
	}
	return w.FormDataContentType(), b.Bytes(), err
}

func readAll(r io.Reader) ([]byte, error) { return io.ReadAll(io.LimitReader(r, maxInput)) }
