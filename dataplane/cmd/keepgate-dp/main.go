// Command keepgate-dp is the data plane.
package main

import (
	"context"
	"os"

	"github.com/keepgate/keepgate/dataplane/app"
	"github.com/keepgate/keepgate/dataplane/cli"
)

func main() {
	os.Exit(cli.Main(context.Background(), app.Run, app.Probe))
}
