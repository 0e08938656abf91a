// Where memory is locked, the runtime gives pages back by mapping them anew, and mappings that bear names do not merge
// again: a large heap would come to the kernel's limit of mappings (vm.max_map_count).
//go:debug decoratemappings=0

// Command keepgate-dp is the data plane.
package main

import (
	"os"

	"github.com/keepgate/keepgate/dataplane/app"
	"github.com/keepgate/keepgate/dataplane/cli"
	"github.com/keepgate/keepgate/shared/process"
)

func main() {
	os.Exit(process.Execute(cli.Root(app.Run, app.Probe, app.Check)))
}
