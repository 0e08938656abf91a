package app

import (
	"context"

	"github.com/keepgate/keepgate/shared/process"
	"github.com/keepgate/keepgate/shared/settings/dpsettings"
)

// Probe asks a running data plane, at its status port, whether it should get traffic.
func Probe(s dpsettings.DataPlane) process.Probe {
	if len(s.StatusListen) == 0 {
		return func(context.Context) error { return nil }
	}
	return process.HTTPProbe("http://" + s.StatusListen[0].Address + "/status/ready")
}
