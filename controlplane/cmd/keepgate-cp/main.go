// Command keepgate-cp is the control plane.
package main

import (
	"context"
	"os"

	"github.com/keepgate/keepgate/controlplane/app"
	"github.com/keepgate/keepgate/controlplane/cli"
)

func main() {
	os.Exit(cli.Main(context.Background(), cli.Plane{Run: app.Run, Probe: app.Probe, Check: app.Check, Open: app.OpenStore}))
}
