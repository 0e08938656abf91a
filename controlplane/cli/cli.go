// Package cli is keepgate-cp's command line.
package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/cli/auditcmd"
	"github.com/keepgate/keepgate/controlplane/cli/cachecmd"
	"github.com/keepgate/keepgate/controlplane/cli/certscmd"
	"github.com/keepgate/keepgate/controlplane/cli/configcmd"
	"github.com/keepgate/keepgate/controlplane/cli/databasecmd"
	"github.com/keepgate/keepgate/controlplane/cli/doctorcmd"
	"github.com/keepgate/keepgate/controlplane/cli/encryptioncmd"
	"github.com/keepgate/keepgate/controlplane/cli/environmentcmd"
	"github.com/keepgate/keepgate/controlplane/cli/fleetcmd"
	"github.com/keepgate/keepgate/controlplane/cli/kekcmd"
	"github.com/keepgate/keepgate/controlplane/cli/keyringcmd"
	"github.com/keepgate/keepgate/controlplane/cli/nodescmd"
	"github.com/keepgate/keepgate/controlplane/cli/rbaccmd"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/memguard"
	"github.com/keepgate/keepgate/shared/process"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
	"github.com/keepgate/keepgate/shared/version"
)

const long = `keepgate-cp is Keepgate's control plane: it keeps the configuration in an encrypted database, is
administered through the Admin API, and sends data planes what they need.

A first run, with nothing but this program:

  keepgate-cp certs init --dir certs --with-control-plane
  keepgate-cp run --keyring-enabled=on --cluster-cert certs/control-plane.crt \
      --cluster-cert-key certs/control-plane.key --cluster-ca-cert certs/ca.crt --cluster-crl certs/crl.pem

Settings come from a file (--conf), from KEEPGATE_* variables, and from flags, the later ones above the earlier.`

// Plane is the control plane's entry points.
type Plane struct {
	Run   process.Main[cpsettings.ControlPlane]
	Probe func(cpsettings.ControlPlane) process.Probe
	Check func(cpsettings.ControlPlane) error
	Open  databasecmd.Open

	Rehearse keyringcmd.Rehearse
	Doctor   doctorcmd.Examine
}

// Root builds the whole command line over the plane's entry points.
func Root(plane Plane) (*cobra.Command, error) {
	root := &cobra.Command{
		Use: "keepgate-cp", Short: "the control plane", Long: long, Version: version.Text, SilenceErrors: true, SilenceUsage: true,
	}
	program := process.Program[cpsettings.ControlPlane]{
		Name: "keepgate-cp", Run: plane.Run, Probe: plane.Probe, Check: plane.Check,
		Prefix: func(s cpsettings.ControlPlane) string { return s.Process.Prefix },
	}
	daemon, err := program.Commands()
	database, databaseErr := databasecmd.Commands(plane.Open)
	root.AddCommand(daemon...)
	root.AddCommand(database...)
	ring, ringErr := keyringcmd.Command(plane.Rehearse)
	doctor, doctorErr := doctorcmd.Command(plane.Doctor)
	encryption, encryptionErr := encryptioncmd.Command()
	root.AddCommand(auditcmd.Command(), cachecmd.Command(), certscmd.Command(), configcmd.Command(), doctor, encryption, fleetcmd.Command(), certscmd.HybridCommand(), kekcmd.Command(), environmentcmd.Command(), nodescmd.Command(), rbaccmd.Command(), ring)
	nameArguments(root)
	return root, errors.Join(err, databaseErr, ringErr, doctorErr, encryptionErr)
}

// Main runs the command line of this process and returns its exit status.
func Main(ctx context.Context, plane Plane) int {
	memguard.Protect() // a recovery's private key passes through commands too
	root, err := Root(plane)
	if err == nil {
		err = root.ExecuteContext(ctx)
	}
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, told(err))
	if coded, ok := errors.AsType[interface {
		error
		ExitCode() int
	}](err); ok {
		return coded.ExitCode()
	}
	return 1
}

// told is an error as people read it, with the program's name once.
func told(err error) string {
	text := fault.Text(err)
	if strings.HasPrefix(text, "keepgate-cp in ") {
		return text
	}
	return "keepgate-cp: " + text
}
