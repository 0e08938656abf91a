package certscmd

import (
	"errors"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/shared/durable"
)

const hybridLong = `Make the one certificate and key that all nodes have with cluster_mtls = shared, as Kong's hybrid mode has by default.

Bring both files to every node and set, on both planes:

  cluster_mtls = shared
  cluster_cert = cluster.crt
  cluster_cert_key = cluster.key

Every node can then pose as every other one, and none can be shut out but by a new pair on all the others. Where data
planes are not all trusted alike, use cluster_mtls = pki: keepgate-cp certs --help.`

const notOverwritten = " already exists.\nWill not overwrite it." // Kong's words

// HybridCommand returns the `hybrid` command, by which Kong makes the certificate of its hybrid mode.
func HybridCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "hybrid",
		Short: "The certificate that all nodes share (cluster_mtls = shared)",
		Long:  hybridLong,
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	days := 0
	generate := &cobra.Command{
		Use:     "gen_cert [CERT KEY]",
		Short:   "Make the pair, as ./cluster.crt and ./cluster.key where no files are named",
		Long:    hybridLong,
		Example: "  keepgate-cp hybrid gen_cert\n  keepgate-cp hybrid gen_cert /etc/keepgate/cluster.crt /etc/keepgate/cluster.key -d 365",
		Args:    cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch len(args) {
			case 0:
				args = []string{"./cluster.crt", "./cluster.key"}
			case 1:
				return errors.New("name both files, that of the certificate and that of the key, or neither")
			}
			return sharedPair(cmd, args[0], args[1], days)
		},
	}
	generate.Flags().IntVarP(&days, "days", "d", 1095, "how long the certificate is valid")
	root.AddCommand(generate)
	return root
}

func sharedPair(cmd *cobra.Command, certPath, keyPath string, days int) error {
	valid, err := validity(days)
	if err != nil {
		return err
	}
	for _, path := range []string{certPath, keyPath} {
		switch _, err := os.Lstat(path); {
		case err == nil:
			return errors.New(path + notOverwritten)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	certPEM, keyPEM, err := certs.SharedPair(valid)
	if err != nil {
		return err
	}
	keyPEM.Reveal(func(data []byte) { err = durable.WriteFile(keyPath, 0o600, data) })
	if err != nil {
		return err
	}
	if err := durable.WriteFile(certPath, 0o644, certPEM); err != nil {
		return err
	}
	say(cmd, "Successfully generated certificate/key pairs, they have been written to: '%s' and '%s'.", certPath, keyPath)
	return nil
}
