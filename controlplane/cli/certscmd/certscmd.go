// Package certscmd is `keepgate-cp certs`: the commands of the cluster's own CA.
//
// They work on files only and need no running control plane. What they do is controlplane/certs's duty;
// here are flags, files and words.
package certscmd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/mtls"
)

const day = 24 * time.Hour

// Command returns the `certs` command with its subcommands.
func Command() *cobra.Command {
	root := &cobra.Command{
		Use:   "certs",
		Short: "The cluster's own certificate authority, on files",
		Long: "Every cluster link is mutually authenticated. These commands make the CA, certificates and the\n" +
			"list of revoked certificates (CRL) in one folder.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	dir := root.PersistentFlags().String("dir", "certs", "the CA's folder")
	root.AddCommand(initCommand(dir), issueCommand(dir), signCommand(dir), revokeCommand(dir), showCommand(dir))
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
	cmd.Flags().StringVar(&l.role, "role", string(mtls.DataPlane), "control-plane, data-plane, admin or kms")
	cmd.Flags().StringVar(&l.environment, "environment", "", `a data plane's environment (default "default")`)
	l.names(cmd)
	cmd.Flags().IntVar(&l.days, "days", 365, "how long the certificate is valid")
}

func (l *leaf) names(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&l.dns, "dns", nil, "a control plane's DNS names")
	cmd.Flags().IPSliceVar(&l.ips, "ip", nil, "a control plane's addresses")
}

func (l *leaf) spec(name string) (certs.Spec, error) {
	valid, err := validity(l.days)
	return certs.Spec{
		Role: mtls.Role(l.role), Environment: l.environment, Name: name,
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

// absent refuses to overwrite anything.
func absent(paths ...string) error {
	for _, path := range paths {
		switch _, err := os.Lstat(path); {
		case err == nil:
			return fmt.Errorf("%s is there already: nothing was changed", path)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	return nil
}

func write(path string, mode fs.FileMode, data []byte) error {
	return durable.Replace(path, mode, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// deliver writes a certificate, and its key when it was made here.
func deliver(cmd *cobra.Command, issued certs.Issued, certPath, keyPath string) error {
	if err := os.MkdirAll(filepath.Dir(certPath), 0o700); err != nil {
		return err
	}
	if issued.KeyPEM.Len() > 0 {
		var err error
		issued.KeyPEM.Reveal(func(data []byte) { err = write(keyPath, 0o600, data) })
		if err != nil {
			return err
		}
		say(cmd, "private key   %s", keyPath)
	}
	if err := write(certPath, 0o644, issued.CertPEM); err != nil {
		return err
	}
	say(cmd, "certificate   %s", certPath)
	say(cmd, "identity      %s", issued.Identity)
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
