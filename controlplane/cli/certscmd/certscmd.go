// Package certscmd is `keepgate-cp certs`: the commands of the cluster's own CA.
//
// They work on files only and need no running control plane. What they do is controlplane/certs's duty;
// here are flags, files and words.
package certscmd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

const day = 24 * time.Hour

const long = `Make the cluster's certificate authority (CA), certificates and the list of revoked ones (CRL), in one folder.

Every link between nodes is mutually authenticated: each node has a certificate of the CA, a private key, the CA's own
certificate and its CRL. Who a node is stands in its certificate:

  control-plane   a node of the control plane: keepgate-cp, cluster_cert and peer_cert
  data-plane      a gateway: keepgate-dp, cluster_cert. Its key seals its disk, so make it there (keepgate-dp certs request)
  admin           a person or program that calls the Admin API
  kms             a KMS plugin
  server, client  programs outside of the cluster, as PostgreSQL and those who log in to it; nodes let nobody in by these

From an empty folder to a control plane and a data plane:

  keepgate-cp certs init --with-control-plane --dns cp.example.com
  keepgate-dp certs request --name edge-1          # on the data plane: its key stays there
  keepgate-cp certs sign cluster.csr --name edge-1

Before a certificate ends: certs renew FILE. When a key may be known to somebody else: certs revoke NAME, and a new key.
Keep ca.key (and root.key) off the nodes: whoever reads it can admit nodes.`

// Command returns the `certs` command with its subcommands.
func Command() *cobra.Command {
	root := &cobra.Command{
		Use:   "certs",
		Short: "The cluster's own certificate authority, on files",
		Long:  long,
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	dir := root.PersistentFlags().String("dir", "certs", "the CA's folder")
	root.AddCommand(initCommand(dir), issueCommand(dir), requestCommand(), signCommand(dir), renewCommand(dir), revokeCommand(dir),
		crlCommand(dir), showCommand(dir), authorityCommand(dir), postgresCommand(dir), selfSignedCommand(dir))
	return root
}

// leaf holds the flags that describe a certificate.
type leaf struct {
	role, environment string
	dns               []string
	ips               []net.IP
	days              int
}

func (l *leaf) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&l.role, "role", string(identity.DataPlane), "control-plane, data-plane, admin, kms, server or client")
	cmd.Flags().StringVar(&l.environment, "environment", "", `a data plane's environment (default "default")`)
	l.names(cmd)
	cmd.Flags().IntVar(&l.days, "days", 365, "how long the certificate is valid")
}

func (l *leaf) names(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&l.dns, "dns", nil, "the DNS names of a control plane or server")
	cmd.Flags().IPSliceVar(&l.ips, "ip", nil, "the addresses of a control plane or server")
}

func (l *leaf) spec(name string) (certs.Spec, error) {
	valid, err := validity(l.days)
	return certs.Spec{
		Role: identity.Role(l.role), Environment: l.environment, Name: name,
		DNS: l.dns, IPs: l.ips, Valid: valid,
	}, err
}

func validity(days int) (time.Duration, error) {
	if days < 1 || days > 36500 {
		return 0, fmt.Errorf("--days %d: 1 to 36500 are allowed", days)
	}
	return time.Duration(days) * day, nil
}

// withAuthority opens the CA for one command.
func withAuthority(dir string, use func(*certs.Authority) error) (err error) {
	authority, err := certs.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, authority.Close()) }()
	return use(authority)
}

// deliver writes a certificate, and its key when it was made here.
func deliver(cmd *cobra.Command, issued certs.Issued, certPath, keyPath string) error {
	if err := os.MkdirAll(filepath.Dir(certPath), 0o700); err != nil {
		return err
	}
	if issued.KeyPEM.Len() > 0 {
		var err error
		issued.KeyPEM.Reveal(func(data []byte) { err = durable.WriteFile(keyPath, 0o600, data) })
		if err != nil {
			return err
		}
		say(cmd, "private key   %s", keyPath)
	}
	if err := durable.WriteFile(certPath, 0o644, issued.CertPEM); err != nil {
		return err
	}
	say(cmd, "certificate   %s", certPath)
	if certs.Plain(issued.Identity.Role) {
		say(cmd, "subject       CN=%s, for a %s", issued.Identity.Name, issued.Identity.Role)
	} else {
		say(cmd, "identity      %s", issued.Identity)
	}
	say(cmd, "serial        %s", issued.Identity.Serial)
	say(cmd, "expires       %s", stamp(issued.Identity.NotAfter))
	for _, notice := range issued.Notices {
		warn(cmd, "%s", notice)
	}
	return nil
}

func say(cmd *cobra.Command, format string, args ...any) {
	_, _ = fmt.Fprintf(cmd.OutOrStdout(), format+"\n", args...) // a closed pipe ends the process anyway
}

func warn(cmd *cobra.Command, format string, args ...any) {
	_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "note: "+format+"\n", args...)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
