// Where memory is locked, the runtime gives pages back by mapping them anew, and mappings that bear names do not merge
// again: a large heap would come to the kernel's limit of mappings (vm.max_map_count).
//go:debug decoratemappings=0

// Command keepgate-dp is the data plane.
package main

import (
	"context"
	"os"

	"github.com/keepgate/keepgate/dataplane/app"
	"github.com/keepgate/keepgate/dataplane/cli"
)

func main() {
	os.Exit(cli.Main(context.Background(), app.Run, app.Probe, app.Check))
}
