package app

import (
	"context"

	"github.com/keepgate/keepgate/shared/process"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
)

// Probe asks a running control plane, at its status port, whether it can do its work.
func Probe(s cpsettings.ControlPlane) process.Probe {
	if len(s.StatusListen) == 0 {
		return func(context.Context) error { return nil }
	}
	return process.HTTPProbe("http://" + s.StatusListen[0].Address + "/status/ready")
}
