// Package cli is keepgate-kms's command line.
package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/doctor/doctorcmd"
	"github.com/keepgate/keepgate/shared/process"
	"github.com/keepgate/keepgate/shared/settings/kmssettings"
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

const doctorLong = `Look at everything that a plugin of these settings needs: its certificate, its socket, memory, and for each node of the control
plane whether it answers, knows the KEK, and wraps and unwraps.`

// Plugin is what the commands run.
type Plugin struct {
	Run    process.Main[kmssettings.KMS]
	Probe  func(kmssettings.KMS) process.Probe
	Check  func(kmssettings.KMS) error
	Doctor doctorcmd.Examine[kmssettings.KMS]
}

// Root builds the whole command line over the plugin's entry points.
func Root(p Plugin) (*cobra.Command, error) {
	root, err := process.Program[kmssettings.KMS]{
		Name: "keepgate-kms", Run: p.Run, Probe: p.Probe, Check: p.Check,
		Prefix: func(s kmssettings.KMS) string { return s.Process.Prefix },
	}.Root("the Kubernetes KMS plugin", long)
	doctor, doctorErr := doctorcmd.Command("keepgate-kms", "plugin", doctorLong, p.Doctor)
	root.AddCommand(doctor)
	return root, errors.Join(err, doctorErr)
}
