package app

import (
	"errors"
	"log/slog"

	"github.com/keepgate/keepgate/dataplane/edgekeys"
	"github.com/keepgate/keepgate/dataplane/enrol"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/trust"
	"github.com/keepgate/keepgate/shared/settings/dpsettings"
)

// Check finds files that the settings name and that cannot be used, and changes nothing: the node may be running.
func Check(s dpsettings.DataPlane) error {
	_, rootsErr := s.Upstream.Roots()
	_, keysErr := edgekeys.SourcesOf(s.Keys).Read()
	return errors.Join(checkIdentity(s.Cluster), rootsErr, keysErr)
}

// checkIdentity does without a change what belong does.
func checkIdentity(c dpsettings.Cluster) error {
	log := slog.New(slog.DiscardHandler)
	if !joins(c) {
		_, err := clusterSource(c, log)
		return err
	}
	if err := checkAddresses(c.ControlPlane); err != nil {
		return fault.New(fault.Invalid, "app.Run", "cluster_control_plane", err)
	}
	folder := enrol.At(c.Enrolment)
	if wiped, err := folder.Wiped(); err != nil || wiped != nil {
		return err // it was shut out, and starts all the same
	}
	_, err := joinedSource(folder, enrol.Standing{Joined: folder.Joined()}, log)
	return err
}

// joins says that the identity is what the node joined with, and not files that an operator keeps.
func joins(c dpsettings.Cluster) bool {
	return c.Cert == "" && c.Key == "" && trust.Mode(c.MTLS) != trust.Shared
}
