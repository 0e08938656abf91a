package certscmd

import (
	"errors"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/shared/durable"
)

func authorityCommand(dir *string) *cobra.Command {
	root := &cobra.Command{
		Use: "authority", Short: "Renew the CA itself, or replace an intermediate one whose key may be known", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.AddCommand(renewAuthorityCommand(dir), replaceAuthorityCommand(dir))
	return root
}

func renewAuthorityCommand(dir *string) *cobra.Command {
	var days int
	cmd := &cobra.Command{
		Use:   "renew",
		Short: "Certify the CA's own key for another while, and the root's",
		Long: "Certify the CA's own key for another while, and the root's where there is one; root.key has to be there for this command.\n" +
			"Names and keys stay: bring the new files to nodes and servers one after the other, before the old ones end. What was issued\n" +
			"stays good. Leaves end with the CA at the latest, so renew those that it cut short (certs renew).",
		Example: "  keepgate-cp certs authority renew --dir certs",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			valid, err := validity(days)
			if err != nil {
				return err
			}
			return withAuthority(*dir, func(authority *certs.Authority) error {
				if err := authority.RenewAuthority(valid); err != nil {
					return err
				}
				sayAuthority(cmd, authority, *dir)
				return nil
			})
		},
	}
	cmd.Flags().IntVar(&days, "days", 3650, "how long the CA is valid")
	return cmd
}

func replaceAuthorityCommand(dir *string) *cobra.Command {
	return &cobra.Command{
		Use:   "replace",
		Short: "Revoke the intermediate CA and make another one below the same root",
		Long: "Revoke the intermediate CA in the root's list and make another one below the same root, when ca.key may be known to somebody\n" +
			"else; root.key has to be there for this command. All that the former one has issued is revoked: bring chain.crt and crl.pem\n" +
			"to every node together, then issue or sign certificates for new keys.",
		Example: "  keepgate-cp certs authority replace --dir certs",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withAuthority(*dir, func(authority *certs.Authority) error {
				if err := authority.ReplaceAuthority(); err != nil {
					return err
				}
				sayAuthority(cmd, authority, *dir)
				warn(cmd, "every certificate of the former CA is revoked: nodes need new keys and certificates")
				return nil
			})
		},
	}
}

func sayAuthority(cmd *cobra.Command, authority *certs.Authority, dir string) {
	paths := certs.PathsIn(dir)
	say(cmd, "CA            %s, until %s", paths.CA, stamp(authority.Certificate().NotAfter))
	say(cmd, "CRL           %s, number %d", paths.CRL, authority.CRLNumber())
	if authority.Root() != nil {
		warn(cmd, "take %s off this machine again", filepath.Join(dir, "root.key"))
	}
}

// selfSignedCommand makes what a test of PostgreSQL over mutual TLS needs, without any authority.
func selfSignedCommand(dir *string) *cobra.Command {
	var (
		host, user string
		days       int
	)
	cmd := &cobra.Command{
		Use:   "self-signed",
		Short: "Make self-signed certificates of a PostgreSQL server and of the role that logs in, for tests only",
		Long: "Make server.crt and server.key, client.crt and client.key, each signed by itself, and print the lines of postgresql.conf,\n" +
			"pg_hba.conf and keepgate.conf that use them. For tests only: nothing can be revoked, and every renewal has to be brought to\n" +
			"the other side.",
		Example: "  keepgate-cp certs self-signed --dir pki --host dbhost.yourdomain.com --user kong",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			at := func(name string) string { return filepath.Join(*dir, name) }
			valid, err := validity(days)
			err = errors.Join(err, durable.Absent(at("server.crt"), at("server.key"), at("client.crt"), at("client.key")))
			if err != nil {
				return err
			}
			if err := selfSignedPairs(cmd, host, user, valid, at); err != nil {
				return err
			}
			sayLines(cmd, "client.crt", "", host, user, at("server.crt"), 0, at)
			warn(cmd, "for tests only: nothing of this can be revoked")
			return nil
		},
	}
	cmd.Flags().StringVar(&host, "host", "localhost", "the name or address under which clients reach the server")
	cmd.Flags().StringVar(&user, "user", "keepgate", "the role that logs in (pg_user)")
	cmd.Flags().IntVar(&days, "days", 365, "how long the certificates are valid")
	return cmd
}

func selfSignedPairs(cmd *cobra.Command, host, user string, valid time.Duration, at func(string) string) error {
	for _, one := range []struct {
		spec certs.Spec
		file string
	}{
		{certs.Spec{Role: certs.Server, Name: host, Valid: valid}, "server"},
		{certs.Spec{Role: certs.Client, Name: user, Valid: valid}, "client"},
	} {
		issued, err := certs.SelfSigned(one.spec)
		if err != nil {
			return err
		}
		if err := deliver(cmd, issued, at(one.file+".crt"), at(one.file+".key")); err != nil {
			return err
		}
	}
	return nil
}
