// Package cli is keepgate-kms's command line.
package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/doctor/finding"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/process"
	"github.com/keepgate/keepgate/shared/settings/kmssettings"
	"github.com/keepgate/keepgate/shared/version"
)

const long = `keepgate-kms is a Kubernetes KMS plugin: it runs beside an API server, which asks it by a UNIX socket to encrypt and
decrypt its seeds, and has the control plane wrap and unwrap them under a key-encryption key (KEK) that never leaves it.

A first run, for a Kubernetes cluster "prod":

  keepgate-cp kek create prod                          # on the control plane
  keepgate-cp certs issue prod.master-1 --role kms     # beside the cluster's authority; the name up to the dot is the KEK's
  keepgate-kms doctor …                                # on the API server's host: is all there?
  keepgate-kms run --cluster-control-plane cp-1.example:8005,cp-2.example:8005 \
      --cluster-cert prod.master-1.crt --cluster-cert-key prod.master-1.key --cluster-ca-cert ca.crt --cluster-crl crl.pem

and in the API server's encryption configuration:

  - kms: {apiVersion: v2, name: keepgate, endpoint: "unix:///run/keepgate/kms.sock", timeout: 3s}

Settings come from a file (--conf), from KEEPGATE_* variables, and from flags, the later ones above the earlier.`

// Plugin is what the commands run.
type Plugin struct {
	Run    process.Main[kmssettings.KMS]
	Probe  func(kmssettings.KMS) process.Probe
	Check  func(kmssettings.KMS) error
	Doctor func(context.Context, kmssettings.KMS) []finding.Finding
}

// Root builds the whole command line over the plugin's entry points.
func Root(p Plugin) (*cobra.Command, error) {
	root := &cobra.Command{
		Use: "keepgate-kms", Short: "the Kubernetes KMS plugin", Long: long, Version: version.Text, SilenceErrors: true, SilenceUsage: true,
	}
	program := process.Program[kmssettings.KMS]{
		Name: "keepgate-kms", Run: p.Run, Probe: p.Probe, Check: p.Check,
		Prefix: func(s kmssettings.KMS) string { return s.Process.Prefix },
	}
	daemon, err := program.Commands()
	if err != nil {
		return nil, err
	}
	root.AddCommand(daemon...)
	examination, err := doctor(p.Doctor)
	root.AddCommand(examination)
	return root, err
}

// Main runs the command line of this process and returns its exit status.
func Main(ctx context.Context, p Plugin) int {
	root, err := Root(p)
	if err == nil {
		err = root.ExecuteContext(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, told(err))
		return 1
	}
	return 0
}

// told is an error as people read it, with the program's name once.
func told(err error) string {
	text := fault.Text(err)
	if strings.HasPrefix(text, "keepgate-kms in ") {
		return text
	}
	return "keepgate-kms: " + text
}
