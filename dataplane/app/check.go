package app

import (
	"context"
	"errors"
	"log/slog"

	"github.com/keepgate/keepgate/dataplane/edgekeys"
	"github.com/keepgate/keepgate/dataplane/enrol"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/localkeys/scopedkeys"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/trust"
	"github.com/keepgate/keepgate/shared/settings/dpsettings"
)

// Check finds files that the settings name and that cannot be used, and changes nothing: the node may be running.
func Check(s dpsettings.DataPlane) error {
	_, rootsErr := s.Upstream.Roots()
	source, identityErr := checkIdentity(s.Cluster)
	return errors.Join(identityErr, rootsErr, checkKeys(s, source), s.References.Check())
}

// checkKeys does without a change what openKeys does. Which keys are this node's shows who it is alone: of one that does not know,
// source is nil, and what is given is read.
func checkKeys(s dpsettings.DataPlane, source *mtls.Source) error {
	read, err := edgekeys.SourcesOf(s.Keys).Read()
	if err != nil || source == nil {
		return err
	}
	identity := source.Identity()
	who := scopedkeys.Who{Organisation: identity.Organisation, Environment: identity.Environment}
	_, err = read.Choose(context.Background(), who, edgekeys.NewOpener(s)) // each service that opens keys has its own timeout
	return err
}

// checkIdentity does without a change what belong does. The source is nil for a node that was shut out.
func checkIdentity(c dpsettings.Cluster) (*mtls.Source, error) {
	log := slog.New(slog.DiscardHandler)
	if !joins(c) {
		return clusterSource(c, log)
	}
	if err := checkAddresses(c.ControlPlane); err != nil {
		return nil, fault.New(fault.Invalid, "app.Run", "cluster_control_plane", err)
	}
	folder := enrol.At(c.Enrolment)
	if wiped, err := folder.Wiped(); err != nil || wiped != nil {
		return nil, err // it was shut out, and starts all the same
	}
	return joinedSource(folder, enrol.Standing{Joined: folder.Joined()}, log)
}

// joins says that the identity is what the node joined with, and not files that an operator keeps.
func joins(c dpsettings.Cluster) bool {
	return c.Cert == "" && c.Key == "" && trust.Mode(c.MTLS) != trust.Shared
}
