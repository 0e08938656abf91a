// Package cli is keepgate-dp's command line.
package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/dataplane/cli/certscmd"
	"github.com/keepgate/keepgate/dataplane/cli/joincmd"
	"github.com/keepgate/keepgate/dataplane/cli/keyscmd"
	"github.com/keepgate/keepgate/dataplane/cli/storecmd"
	"github.com/keepgate/keepgate/shared/process"
	"github.com/keepgate/keepgate/shared/settings/dpsettings"
)

const long = `keepgate-dp is Keepgate's data plane: it receives its configuration from the control plane, keeps it sealed on
its own disk, and serves traffic with or without the control plane.

A first run. The key is made here and never leaves this machine:

  keepgate-cp fleet invite --environment prod             # on the control plane: prints the next line
  keepgate-dp join --control-plane cp.example:8005 --token kgj1.…
  keepgate-dp run --cluster-control-plane cp.example:8005

Or with files that are issued and renewed by hand:

  keepgate-dp certs request --name edge-1 --dir certs     # makes a key and a certificate request
  keepgate-cp certs sign …                                # on the control plane, with that request
  keepgate-dp run --cluster-control-plane cp.example:8005 --cluster-cert certs/edge-1.crt \
      --cluster-cert-key certs/edge-1.key --cluster-ca-cert certs/ca.crt --cluster-crl certs/crl.pem

Settings come from a file (--conf), from KEEPGATE_* variables, and from flags, the later ones above the earlier.`

// Root builds the whole command line over the plane's entry points.
func Root(run process.Main[dpsettings.DataPlane], probe func(dpsettings.DataPlane) process.Probe, check func(dpsettings.DataPlane) error) (*cobra.Command, error) {
	root, err := process.Program[dpsettings.DataPlane]{
		Name: "keepgate-dp", Run: run, Probe: probe, Check: check,
		Prefix: func(s dpsettings.DataPlane) string { return s.Process.Prefix },
	}.Root("the data plane", long)
	join, joinErr := joincmd.Command()
	keys, keysErr := keyscmd.Command()
	store, storeErr := storecmd.Command()
	root.AddCommand(join, certscmd.Command(), keys, store)
	return root, errors.Join(err, joinErr, keysErr, storeErr)
}
