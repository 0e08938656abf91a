// Where memory is locked, the runtime gives pages back by mapping them anew, and mappings that bear names do not merge
// again: a large heap would come to the kernel's limit of mappings (vm.max_map_count).
//go:debug decoratemappings=0

// Command keepgate-kms is the Kubernetes KMS plugin.
package main

import (
	"os"
	"runtime"
	"runtime/debug"

	"github.com/keepgate/keepgate/controlplane/kmsplugin/app"
	"github.com/keepgate/keepgate/controlplane/kmsplugin/cli"
	"github.com/keepgate/keepgate/shared/process"
)

func main() {
	frugal()
	os.Exit(process.Execute(cli.Root(cli.Plugin{Run: app.Run, Probe: app.Probe, Check: app.Check, Doctor: app.Doctor})))
}

// frugal has the plugin run on one core and collect garbage rarely, unless the environment says otherwise. It holds next
// to nothing and hands each call from one goroutine to the next: other cores are woken for less work than waking them is,
// and a collection, which would come every 250 calls, holds one up for a millisecond.
func frugal() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}
