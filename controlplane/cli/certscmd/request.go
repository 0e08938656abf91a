package certscmd

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/privatekey"
)

func requestCommand() *cobra.Command {
	var out, keyPath string
	cmd := &cobra.Command{
		Use:   "request NAME",
		Short: "Make a private key on this machine and a certificate request for it",
		Long: "Make a private key (EC P-256) on the machine that will use it, and a request for a certificate: NAME.key, which stays, and\n" +
			"NAME.csr, to be taken to where the CA is and signed there (certs sign). No CA is needed here. For data planes there is\n" +
			"keepgate-dp certs request.",
		Example: "  keepgate-cp certs request cp-2\n" +
			"  keepgate-cp certs sign cp-2.csr --name cp-2 --role control-plane --dns cp-2.example.com   # where the CA is",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := (identity.Identity{Role: identity.Admin, Organisation: "default", Name: args[0]}).Validate(); err != nil {
				return err
			}
			return request(cmd, args[0], out, keyPath)
		},
	}
	cmd.Flags().StringVar(&out, "out", ".", "the folder for NAME.key and NAME.csr")
	cmd.Flags().StringVar(&keyPath, "key", "", "use this private key, and make none")
	return cmd
}

func request(cmd *cobra.Command, name, out, keyPath string) error {
	path := filepath.Join(out, name+".csr")
	made := filepath.Join(out, name+".key")
	if err := durable.Absent(path); err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o700); err != nil {
		return err
	}
	if keyPath == "" {
		if err := durable.Absent(made); err != nil {
			return err
		}
		_, encoded, err := privatekey.New()
		if err != nil {
			return err
		}
		encoded.Reveal(func(data []byte) { err = durable.WriteFile(made, 0o600, data) })
		if err != nil {
			return err
		}
		keyPath = made
	}
	key, err := privatekey.Read(keyPath)
	if err != nil {
		return err
	}
	encoded, err := privatekey.Request(key, name)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(path, 0o644, encoded); err != nil {
		return err
	}
	digest, err := certs.KeySHA256(key.Public())
	if err != nil {
		return err
	}
	say(cmd, "private key   %s (stays here)", keyPath)
	say(cmd, "request       %s", path)
	say(cmd, "key SHA-256   %s", digest)
	return nil
}
