package certscmd

import (
	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/shared/durable"
)

func renewCommand(dir *string) *cobra.Command {
	var (
		out  string
		days int
	)
	cmd := &cobra.Command{
		Use:   "renew FILE",
		Short: "Certify a certificate's key for another while, under the same names",
		Long: "Certify the key of a certificate for another while, under the same names. The key stays where it is and is not needed here;\n" +
			"a data plane goes on reading what it has sealed with it. The file is replaced unless --out names another.\n\n" +
			"Bring the new certificate to its node in the old one's place: running nodes take it within seconds. The old certificate\n" +
			"stays valid until its end. For a new key, make a request on the node and use certs sign.",
		Example: "  keepgate-cp certs renew certs/control-plane.crt",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			valid, err := validity(days)
			if err != nil {
				return err
			}
			path := args[0]
			if out != "" {
				if err := durable.Absent(out); err != nil {
					return err
				}
				path = out
			}
			cert, err := certs.ReadCertificate(args[0])
			if err != nil {
				return err
			}
			return withAuthority(*dir, func(authority *certs.Authority) error {
				issued, err := authority.Renew(cert, valid)
				if err != nil {
					return err
				}
				return deliver(cmd, issued, path, "")
			})
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "the new certificate's file (default: FILE itself)")
	cmd.Flags().IntVar(&days, "days", 365, "how long the certificate is valid")
	return cmd
}

func crlCommand(dir *string) *cobra.Command {
	return &cobra.Command{
		Use:   "crl",
		Short: "Write the CRL anew, before it is out of date",
		Long: "Write the list of revoked certificates anew, with a higher number and for another 400 days, and nothing else changed. Copy it\n" +
			"to the nodes. Every other command that changes the CA's folder writes it too.",
		Example: "  keepgate-cp certs crl --dir certs",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withAuthority(*dir, func(authority *certs.Authority) error {
				if err := authority.WriteCRL(); err != nil {
					return err
				}
				say(cmd, "CRL           %s, number %d", certs.PathsIn(*dir).CRL, authority.CRLNumber())
				return nil
			})
		},
	}
}
