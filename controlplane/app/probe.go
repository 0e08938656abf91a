package app

import (
	"context"
	"errors"
	"log/slog"

	"github.com/keepgate/keepgate/controlplane/admin"
	"github.com/keepgate/keepgate/shared/fault"
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

// Check finds what the settings ask for and this version does not do, and files that they name and that cannot be
// used. A start checks it before it touches the database.
func Check(s cpsettings.ControlPlane) error {
	var errs []error
	for _, at := range s.Admin.Listen {
		if at.ProxyProtocol {
			errs = append(errs, fault.Newf(fault.Invalid, "app.Run", "admin_listen", "%s: this version does not speak proxy_protocol", at.Address))
		}
	}
	keeperErr := checkKeeper(s)
	_, courierErr := newCourier(s.Keyring)
	_, clusterErr := clusterSource(s.Cluster, slog.New(slog.DiscardHandler))
	_, _, adminErr := givenCertificate(s.Admin)
	if adminErr == nil {
		_, adminErr = clientAuthorities(s.Admin)
	}
	return errors.Join(append(errs, admin.CheckListen(adminListeners(s.Admin), s.Admin.EnforceRBAC), checkAccess(s.Admin), keeperErr, checkProviders(s), courierErr, checkTLS(s.Database), checkPeers(s), clusterErr, checkAdvertised(s.Cluster.Advertise), adminErr)...)
}
