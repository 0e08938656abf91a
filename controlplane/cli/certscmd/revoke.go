package certscmd

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

func revokeCommand(dir *string) *cobra.Command {
	var (
		selection  certs.Selection
		role, file string
	)
	cmd := &cobra.Command{
		Use:   "revoke [NAME | --serial HEX | --cert FILE]",
		Short: "Revoke certificates and write the CRL",
		Example: "  keepgate-cp certs revoke edge-1\n" +
			"  keepgate-cp certs revoke cp-2 --role control-plane\n" +
			"  keepgate-cp certs revoke --cert edge-1.crt",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			selection.Role = identity.Role(role)
			if len(args) == 1 {
				selection.Name = args[0]
			}
			if count(selection.Name, selection.Serial, file) != 1 {
				return errors.New("give either a name, --serial or --cert")
			}
			if selection.Name == "" && count(role, selection.Environment) > 0 {
				return errors.New("--role and --environment narrow a name down; --serial and --cert need no narrowing")
			}
			return withAuthority(*dir, func(authority *certs.Authority) error {
				return revoke(cmd, authority, selection, file, *dir)
			})
		},
	}
	cmd.Flags().StringVar(&selection.Serial, "serial", "", "the serial number in hex")
	cmd.Flags().StringVar(&file, "cert", "", "the certificate's file")
	cmd.Flags().StringVar(&role, "role", "", "only certificates of this role")
	cmd.Flags().StringVar(&selection.Environment, "environment", "", "only certificates of this environment")
	return cmd
}

func revoke(cmd *cobra.Command, authority *certs.Authority, selection certs.Selection, file, dir string) error {
	var (
		revoked []certs.Entry
		err     error
	)
	if file == "" {
		revoked, err = authority.Revoke(selection)
	} else {
		cert, readErr := certs.ReadCertificate(file)
		if readErr != nil {
			return readErr
		}
		revoked, err = authority.RevokeCertificate(cert)
	}
	if err != nil {
		return err
	}
	for _, entry := range revoked {
		say(cmd, "revoked       %s %s, serial %s", entry.Role, entry.Name, entry.Serial)
	}
	if len(revoked) == 0 {
		say(cmd, "nothing new: all of it was revoked before")
	}
	say(cmd, "CRL           %s, number %d", certs.PathsIn(dir).CRL, authority.CRLNumber())
	warn(cmd, "nodes refuse a revoked certificate once this CRL is on their disk; a control plane that reads it here does so within seconds")
	return nil
}

func count(texts ...string) (n int) {
	for _, text := range texts {
		if text != "" {
			n++
		}
	}
	return n
}
