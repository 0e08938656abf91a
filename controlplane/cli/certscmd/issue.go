package certscmd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

const controlPlaneName = "control-plane"

func initCommand(dir *string) *cobra.Command {
	var (
		organisation string
		after        string
		days         int
		withCP       bool
		cp           leaf
		options      certs.Options
	)
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make the CA and an empty CRL, and with --with-control-plane the control plane's certificate",
		Long: "Make the CA: ca.crt, which nodes are given, ca.key, which signs and stays here, and crl.pem, an empty list of revoked\n" +
			"certificates.\n\n" +
			"With --intermediate the CA that signs stands below a root (root.crt, root.key), and nodes are given chain.crt, which\n" +
			"holds both. The root's key is needed again for certs authority alone: take it off this machine and put it away.\n\n" +
			"With --after the CA is to replace the one in another folder, of the same organisation. The former one signs cross.crt, which\n" +
			"control planes with certificates of the new CA show too, so that nodes which believe the former one alone go on linking.\n" +
			"What to do then: keepgate-cp fleet authority --help.",
		Example: "  keepgate-cp certs init --with-control-plane --dns cp.example.com\n" +
			"  keepgate-cp certs init --dir certs-2 --after certs\n" +
			"  keepgate-cp certs init --intermediate --root-name root.example.com --name intermediate.example.com",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !withCP && len(cp.dns)+len(cp.ips) > 0 {
				return errors.New("--dns and --ip belong to --with-control-plane")
			}
			valid, err := validity(days)
			if err != nil {
				return err
			}
			if options.RootName != "" && !options.Intermediate {
				return errors.New("--root-name belongs to --intermediate; --name is the only CA's otherwise")
			}
			options.Valid = valid
			certPath, keyPath := filepath.Join(*dir, controlPlaneName+".crt"), filepath.Join(*dir, controlPlaneName+".key")
			if err := durable.Absent(certPath, keyPath); withCP && err != nil {
				return err
			}
			authority, err := initialised(cmd, *dir, organisation, after, options)
			if err != nil {
				return err
			}
			paths := certs.PathsIn(*dir)
			say(cmd, "CA            %s", paths.CA)
			say(cmd, "CRL           %s", paths.CRL)
			say(cmd, "organisation  %s", authority.Organisation())
			if after != "" {
				say(cmd, "the CA before vouches for it in %s", filepath.Join(*dir, "cross.crt"))
			}
			if withCP {
				err = issueControlPlane(cmd, authority, cp, certPath, keyPath)
			}
			warn(cmd, "whoever reads %s can admit nodes: keep it off the nodes, and keep a copy", filepath.Join(*dir, "ca.key"))
			if options.Intermediate {
				warn(cmd, "no command needs %s but those of certs authority: move it to where no machine reads it", filepath.Join(*dir, "root.key"))
			}
			return errors.Join(err, authority.Close())
		},
	}
	cmd.Flags().StringVar(&organisation, "organisation", "default", "stands in every certificate of this CA")
	cmd.Flags().StringVar(&after, "after", "", "the folder of the CA that this one is to replace")
	cmd.Flags().IntVar(&days, "days", 3650, "how long the CA is valid")
	cmd.Flags().BoolVar(&withCP, "with-control-plane", false, "also make the control plane's own key and certificate")
	cmd.Flags().BoolVar(&options.Intermediate, "intermediate", false, "make a root, and below it the CA that signs")
	cmd.Flags().StringVar(&options.Name, "name", "", `the CA's common name (default "Keepgate cluster CA")`)
	cmd.Flags().StringVar(&options.RootName, "root-name", "", `the root's common name (default "Keepgate cluster root CA")`)
	cp.names(cmd)
	return cmd
}

// initialised makes a CA, after another one where a folder of one is given.
func initialised(cmd *cobra.Command, dir, organisation, after string, options certs.Options) (made *certs.Authority, err error) {
	if after == "" {
		return certs.Create(dir, organisation, options)
	}
	err = withAuthority(after, func(former *certs.Authority) error {
		if cmd.Flags().Changed("organisation") && organisation != former.Organisation() {
			return fmt.Errorf("--organisation %s: the CA in %s is of %s, and nodes of one do not believe the other's", organisation, after, former.Organisation())
		}
		made, err = certs.CreateAfter(former, dir, options)
		return err
	})
	return made, err
}

func issueControlPlane(cmd *cobra.Command, authority *certs.Authority, cp leaf, certPath, keyPath string) error {
	issued, err := authority.Issue(certs.Spec{Role: identity.ControlPlane, Name: controlPlaneName, DNS: cp.dns, IPs: cp.ips})
	if err != nil {
		return err
	}
	return deliver(cmd, issued, certPath, keyPath)
}

func issueCommand(dir *string) *cobra.Command {
	var (
		described leaf
		out       string
	)
	cmd := &cobra.Command{
		Use:   "issue NAME",
		Short: "Make a key and a certificate for it, both here",
		Long: "Make a key and a certificate for it. The key is made on this machine and has to be carried to its node, so for a data\n" +
			"plane this is for demos only: use keepgate-dp certs request on the node, and certs sign here.\n\n" +
			"A server's certificate is for its NAME unless --dns or --ip say otherwise. A client's NAME is its common name, which\n" +
			"PostgreSQL compares with the role that logs in.",
		Example: "  keepgate-cp certs issue cp-2 --role control-plane --dns cp-2.example.com\n" +
			"  keepgate-cp certs issue db.example.com --role server\n" +
			"  keepgate-cp certs issue kong --role client",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			spec, err := described.spec(args[0])
			if err != nil {
				return err
			}
			return withAuthority(*dir, func(authority *certs.Authority) error {
				certPath, keyPath, err := places(*dir, out, spec, authority)
				if err != nil {
					return err
				}
				issued, err := authority.Issue(spec)
				if err != nil {
					return err
				}
				if err := deliver(cmd, issued, certPath, keyPath); err != nil {
					return err
				}
				if spec.Role != identity.DataPlane {
					return nil
				}
				warn(cmd, "the private key was made here, so this machine has seen what the node will seal its disk with: for demos only.\n"+
					"      Otherwise: keepgate-dp certs request on the node, then keepgate-cp certs sign here.")
				return nil
			})
		},
	}
	described.flags(cmd)
	cmd.Flags().StringVar(&out, "out", "", "the folder for NAME.crt and NAME.key (default: the CA's folder)")
	return cmd
}

// places says where a new pair goes, once its name has been found fit for a file.
func places(dir, out string, spec certs.Spec, authority *certs.Authority) (certPath, keyPath string, err error) {
	if err := authority.Validate(spec); err != nil {
		return "", "", err
	}
	if out == "" {
		out = dir
	}
	certPath, keyPath = filepath.Join(out, spec.Name+".crt"), filepath.Join(out, spec.Name+".key")
	if err := durable.Absent(certPath, keyPath); err != nil {
		return "", "", fmt.Errorf("%w; to certify the same key for another while: keepgate-cp certs renew %s; for a new pair name another folder by --out", err, certPath)
	}
	return certPath, keyPath, nil
}

func signCommand(dir *string) *cobra.Command {
	var (
		described leaf
		name, out string
	)
	cmd := &cobra.Command{
		Use:   "sign REQUEST",
		Short: "Certify the key of a node's request; names and role come from the flags",
		Example: "  keepgate-cp certs sign cluster.csr --name edge-1\n" +
			"  keepgate-cp certs sign cp-2.csr --name cp-2 --role control-plane --dns cp-2.example.com",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if name == "" {
				return errors.New("--name is needed: what the request asks for is ignored")
			}
			spec, err := described.spec(name)
			if err != nil {
				return err
			}
			request, err := readRequest(cmd, args[0])
			if err != nil {
				return err
			}
			return withAuthority(*dir, func(authority *certs.Authority) error {
				certPath := out
				if certPath == "" {
					if certPath, _, err = places(*dir, "", spec, authority); err != nil {
						return err
					}
				} else if err := durable.Absent(certPath); err != nil {
					return err
				}
				issued, err := authority.Sign(request, spec)
				if err != nil {
					return err
				}
				if err := deliver(cmd, issued, certPath, ""); err != nil {
					return err
				}
				paths := certs.PathsIn(*dir)
				say(cmd, "key SHA-256   %s", issued.KeySHA)
				say(cmd, "the node needs %s, %s and %s; compare the key's SHA-256 with what the node showed", certPath, paths.CA, paths.CRL)
				return nil
			})
		},
	}
	described.flags(cmd)
	cmd.Flags().StringVar(&name, "name", "", "the node's name in the cluster; what the request asks for is ignored")
	cmd.Flags().StringVar(&out, "out", "", "the certificate's file (default: NAME.crt in the CA's folder)")
	return cmd
}

// readRequest reads a file, or standard input for "-".
func readRequest(cmd *cobra.Command, path string) ([]byte, error) {
	const most = 64<<10 + 1 // one more than is taken, so that the excess is noticed
	if path == "-" {
		return io.ReadAll(io.LimitReader(cmd.InOrStdin(), most))
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // opened for reading
	return io.ReadAll(io.LimitReader(file, most))
}
