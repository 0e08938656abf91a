// Where memory is locked, the runtime gives pages back by mapping them anew, and mappings that bear names do not merge
// again: a large heap would come to the kernel's limit of mappings (vm.max_map_count).
//go:debug decoratemappings=0

// Command keepgate-kms is the Kubernetes KMS plugin.
package main

import (
	"context"
	"os"

	"github.com/keepgate/keepgate/controlplane/kmsplugin/app"
	"github.com/keepgate/keepgate/controlplane/kmsplugin/cli"
)

func main() {
	os.Exit(cli.Main(context.Background(), cli.Plugin{Run: app.Run, Probe: app.Probe, Check: app.Check, Doctor: app.Doctor}))
}
