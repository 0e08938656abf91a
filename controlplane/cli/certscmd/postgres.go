package certscmd

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/shared/durable"
)

// postgresCommand makes all that a PostgreSQL server and its client need to believe each other.
func postgresCommand(dir *string) *cobra.Command {
	var (
		host, user   string
		intermediate bool
	)
	cmd := &cobra.Command{
		Use:   "postgres",
		Short: "Make the certificates of a PostgreSQL server and of the role that logs in, and the CA where there is none",
		Long: "Make server.crt and server.key for a PostgreSQL server, and client.crt and client.key whose common name is the role that logs\n" +
			"in; before that the CA, where there is none in the folder. It prints the lines of postgresql.conf, pg_hba.conf and of\n" +
			"keepgate.conf that use them.",
		Example: "  keepgate-cp certs postgres --dir pki --intermediate --host dbhost.yourdomain.com --user kong",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			at := func(name string) string { return filepath.Join(*dir, name) }
			if err := durable.Absent(at("server.crt"), at("server.key"), at("client.crt"), at("client.key")); err != nil {
				return fmt.Errorf("%w; for another server or role of this CA: keepgate-cp certs issue NAME --role server (or client) --dir %s", err, *dir)
			}
			authority, err := certs.Open(*dir)
			if durable.Absent(certs.PathsIn(*dir).CA) == nil {
				options := certs.Options{Intermediate: intermediate, Valid: 10 * 365 * day}
				authority, err = certs.Create(*dir, "default", options)
			}
			if err != nil {
				return err
			}
			if intermediate && authority.Root() == nil {
				return errors.Join(fmt.Errorf("--intermediate: the CA in %s is there already and signs without one", *dir), authority.Close())
			}
			err = pairs(cmd, authority, host, user, at)
			if err == nil {
				sayPostgres(cmd, certs.PathsIn(*dir), authority.Root() != nil, host, user, at)
			}
			return errors.Join(err, authority.Close())
		},
	}
	cmd.Flags().StringVar(&host, "host", "localhost", "the name or address under which clients reach the server")
	cmd.Flags().StringVar(&user, "user", "keepgate", "the role that logs in (pg_user)")
	cmd.Flags().BoolVar(&intermediate, "intermediate", false, "where the CA is made: a root, and below it the CA that signs")
	return cmd
}

func pairs(cmd *cobra.Command, authority *certs.Authority, host, user string, at func(string) string) error {
	for _, one := range []struct {
		spec certs.Spec
		file string
	}{
		{certs.Spec{Role: certs.Server, Name: host, Valid: 365 * day}, "server"},
		{certs.Spec{Role: certs.Client, Name: user, Valid: 365 * day}, "client"},
	} {
		issued, err := authority.Issue(one.spec)
		if err != nil {
			return err
		}
		if err := deliver(cmd, issued, at(one.file+".crt"), at(one.file+".key")); err != nil {
			return err
		}
	}
	return nil
}

func sayPostgres(cmd *cobra.Command, paths certs.Paths, deep bool, host, user string, at func(string) string) {
	depth := 0
	if deep {
		depth = 1
	}
	sayLines(cmd, filepath.Base(paths.CA), paths.CRL, host, user, paths.CA, depth, at)
	if deep {
		warn(cmd, "no command needs %s but those of certs authority: move it to where no machine reads it", at("root.key"))
	}
	warn(cmd, "see that it works with: keepgate-cp doctor --conf keepgate.conf")
}

// sayLines prints what the two sides are told: whom the server believes, and, where there is a list of revoked certificates, that.
func sayLines(cmd *cobra.Command, believed, crl, host, user, trusted string, depth int, at func(string) string) {
	whole := func(path string) string {
		if absolute, err := filepath.Abs(path); err == nil {
			return absolute
		}
		return path
	}
	theirs, ours := "", ""
	if crl != "" {
		theirs, ours = "\n  ssl_crl_file = 'crl.pem'", "\n  pg_ssl_crl_file = "+whole(crl)
	}
	say(cmd, `
postgresql.conf, with these files copied to the server and server.key of mode 0600, owned by the user that runs PostgreSQL:
  ssl = on
  ssl_cert_file = 'server.crt'
  ssl_key_file = 'server.key'
  ssl_ca_file = '%s'%s

pg_hba.conf:
  hostssl all %s all cert

keepgate.conf:
  database = postgres
  pg_host = %s
  pg_user = %s
  pg_ssl_cert = %s
  pg_ssl_cert_key = %s
  ssl_trusted_certificate = %s
  ssl_verify_depth = %d%s`, believed, theirs, user, host, user, whole(at("client.crt")), whole(at("client.key")), whole(trusted), depth, ours)
}
