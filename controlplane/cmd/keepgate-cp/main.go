// Where memory is locked, the runtime gives pages back by mapping them anew, and mappings that bear names do not merge
// again: a large heap would come to the kernel's limit of mappings (vm.max_map_count).
//go:debug decoratemappings=0

// Command keepgate-cp is the control plane.
package main

import (
	"os"

	"github.com/keepgate/keepgate/controlplane/app"
	"github.com/keepgate/keepgate/controlplane/cli"
	"github.com/keepgate/keepgate/shared/process"
)

func main() {
	os.Exit(process.Execute(cli.Root(cli.Plane{
		Run: app.Run, Probe: app.Probe, Check: app.Check, Open: app.OpenStore, Rehearse: app.Rehearse, Doctor: app.Doctor,
	})))
}
