// Package cli is keepgate-cp's command line.
package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/cli/auditcmd"
	"github.com/keepgate/keepgate/controlplane/cli/cachecmd"
	"github.com/keepgate/keepgate/controlplane/cli/certscmd"
	"github.com/keepgate/keepgate/controlplane/cli/configcmd"
	"github.com/keepgate/keepgate/controlplane/cli/databasecmd"
	"github.com/keepgate/keepgate/controlplane/cli/encryptioncmd"
	"github.com/keepgate/keepgate/controlplane/cli/environmentcmd"
	"github.com/keepgate/keepgate/controlplane/cli/fleetcmd"
	"github.com/keepgate/keepgate/controlplane/cli/kekcmd"
	"github.com/keepgate/keepgate/controlplane/cli/keyringcmd"
	"github.com/keepgate/keepgate/controlplane/cli/nodescmd"
	"github.com/keepgate/keepgate/controlplane/cli/rbaccmd"
	"github.com/keepgate/keepgate/controlplane/doctor/doctorcmd"
	"github.com/keepgate/keepgate/shared/process"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
)

const long = `keepgate-cp is Keepgate's control plane: it keeps the configuration in an encrypted database, is
administered through the Admin API, and sends data planes what they need.

A first run, with nothing but this program:

  keepgate-cp certs init --dir certs --with-control-plane
  keepgate-cp run --keyring-enabled=on --cluster-cert certs/control-plane.crt \
      --cluster-cert-key certs/control-plane.key --cluster-ca-cert certs/ca.crt --cluster-crl certs/crl.pem

Settings come from a file (--conf), from KEEPGATE_* variables, and from flags, the later ones above the earlier.`

const doctorLong = `Look at everything that a control plane of these settings needs, one step after the other: PostgreSQL (name, port, TLS, both sides'
certificates, role, privileges, schema), NATS, the certificates between the nodes, the files of the keyring, memory, sockets, and
whether a data plane that is new could join right now.`

// Plane is the control plane's entry points.
type Plane struct {
	Run   process.Main[cpsettings.ControlPlane]
	Probe func(cpsettings.ControlPlane) process.Probe
	Check func(cpsettings.ControlPlane) error
	Open  databasecmd.Open

	Rehearse keyringcmd.Rehearse
	Doctor   doctorcmd.Examine[cpsettings.ControlPlane]
}

// Root builds the whole command line over the plane's entry points.
func Root(plane Plane) (*cobra.Command, error) {
	root, err := process.Program[cpsettings.ControlPlane]{
		Name: "keepgate-cp", Run: plane.Run, Probe: plane.Probe, Check: plane.Check,
		Prefix: func(s cpsettings.ControlPlane) string { return s.Process.Prefix },
	}.Root("the control plane", long)
	database, databaseErr := databasecmd.Commands(plane.Open)
	root.AddCommand(database...)
	ring, ringErr := keyringcmd.Command(plane.Rehearse)
	doctor, doctorErr := doctorcmd.Command("keepgate-cp", "control plane", doctorLong, plane.Doctor)
	encryption, encryptionErr := encryptioncmd.Command()
	root.AddCommand(auditcmd.Command(), cachecmd.Command(), certscmd.Command(), configcmd.Command(), doctor, encryption, fleetcmd.Command(), certscmd.HybridCommand(), kekcmd.Command(), environmentcmd.Command(), nodescmd.Command(), rbaccmd.Command(), ring)
	nameArguments(root)
	return root, errors.Join(err, databaseErr, ringErr, doctorErr, encryptionErr)
}
