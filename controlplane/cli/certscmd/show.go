package certscmd

import (
	"crypto/x509"
	"fmt"
	"net"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

func showCommand(dir *string) *cobra.Command {
	return &cobra.Command{
		Use:   "show [FILE...]",
		Short: "Show the CA's folder, or what is in certificates, requests and CRLs",
		Example: "  keepgate-cp certs show\n" +
			"  keepgate-cp certs show cluster.crt cluster.csr crl.pem",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return showFolder(cmd, *dir)
			}
			for _, path := range args {
				if err := showFile(cmd, path); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func showFolder(cmd *cobra.Command, dir string) error {
	folder, err := certs.Read(dir)
	if err != nil {
		return err
	}
	now := time.Now()
	say(cmd, "CA            %s", folder.CA.Subject)
	say(cmd, "organisation  %s", folder.Organisation)
	say(cmd, "expires       %s%s", stamp(folder.CA.NotAfter), past(folder.CA.NotAfter, now))
	if folder.Root != nil {
		say(cmd, "root          %s, expires %s%s", folder.Root.Subject, stamp(folder.Root.NotAfter), past(folder.Root.NotAfter, now))
	}
	if folder.Cross != nil {
		say(cmd, "follows       %s, which vouches for it until %s%s", folder.Cross.Issuer, stamp(folder.Cross.NotAfter), past(folder.Cross.NotAfter, now))
	}
	if folder.CRL == nil {
		warn(cmd, "%s", folder.CRLProblem)
	} else {
		showCRL(cmd, folder.CRL, now)
	}
	table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "\nSERIAL\tROLE\tENVIRONMENT\tNAME\tEXPIRES\tSTATE") // flushed below
	for _, entry := range folder.Certificates {
		state := entry.State(now)
		if entry.RevokedAt != 0 {
			state += " " + stamp(time.Unix(entry.RevokedAt, 0))
		}
		if entry.KeyMadeHere && entry.Role == identity.DataPlane {
			state += ", key made here"
		}
		environment := entry.Environment
		if environment == "" {
			environment = "-"
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", entry.Serial, entry.Role, environment, entry.Name,
			stamp(time.Unix(entry.NotAfter, 0)), state)
	}
	return table.Flush()
}

func showFile(cmd *cobra.Command, path string) error {
	found, err := certs.ReadFile(path)
	if err != nil {
		return err
	}
	say(cmd, "%s", path)
	for _, one := range found {
		showOne(cmd, one)
	}
	return nil
}

func showOne(cmd *cobra.Command, found any) {
	switch found := found.(type) {
	case *x509.Certificate:
		showCertificate(cmd, found)
	case *x509.CertificateRequest:
		say(cmd, "request       subject %q, ignored when it is signed", found.Subject.String())
		if digest, err := certs.KeySHA256(found.PublicKey); err == nil {
			say(cmd, "key SHA-256   %s", digest)
		}
	case *x509.RevocationList:
		showCRL(cmd, found, time.Now())
		for _, entry := range found.RevokedCertificateEntries {
			say(cmd, "revoked       %s  %s", stamp(entry.RevocationTime), identity.SerialText(entry.SerialNumber))
		}
	}
}

func showCertificate(cmd *cobra.Command, cert *x509.Certificate) {
	if id, err := identity.Of(cert); err == nil {
		say(cmd, "identity      %s", id)
	} else if role := plainRole(cert); role != "" {
		say(cmd, "role          %s", role)
	} else if roles := identity.ConstrainedTo(cert); cert.IsCA && len(roles) > 0 {
		say(cmd, "authority     for %v alone", roles)
	} else if !cert.IsCA {
		warn(cmd, "no node would be let in with it: %v", err)
	}
	say(cmd, "subject       %q", cert.Subject.String())
	say(cmd, "issuer        %q", cert.Issuer.String())
	say(cmd, "serial        %s", identity.SerialText(cert.SerialNumber))
	say(cmd, "valid         %s to %s%s", stamp(cert.NotBefore), stamp(cert.NotAfter), past(cert.NotAfter, time.Now()))
	if names := names(cert.DNSNames, cert.IPAddresses); names != "" {
		say(cmd, "names         %s", names)
	}
	if digest, err := certs.KeySHA256(cert.PublicKey); err == nil {
		say(cmd, "key SHA-256   %s", digest)
	}
}

// plainRole is the role of a certificate that names nobody in the cluster, as far as it can be told.
func plainRole(cert *x509.Certificate) identity.Role {
	switch {
	case cert.IsCA || len(cert.URIs) > 0 || len(cert.ExtKeyUsage) != 1:
		return ""
	case cert.ExtKeyUsage[0] == x509.ExtKeyUsageServerAuth:
		return certs.Server
	case cert.ExtKeyUsage[0] == x509.ExtKeyUsageClientAuth:
		return certs.Client
	}
	return ""
}

func names(dns []string, ips []net.IP) string {
	var all []string
	for _, name := range dns {
		all = append(all, strings.Trim(fmt.Sprintf("%q", name), `"`))
	}
	for _, ip := range ips {
		all = append(all, ip.String())
	}
	return strings.Join(all, ", ")
}

func showCRL(cmd *cobra.Command, list *x509.RevocationList, now time.Time) {
	say(cmd, "CRL           number %v, %d revoked, written %s, to be renewed by %s%s", list.Number,
		len(list.RevokedCertificateEntries), stamp(list.ThisUpdate), stamp(list.NextUpdate), past(list.NextUpdate, now))
}

func past(t, now time.Time) string {
	if now.After(t) {
		return "  (past)"
	}
	return ""
}
