package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/proof"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
)

// Rehearse says what a recovery with a private key would bring, over the database that the settings name. It changes
// nothing, and may run beside the control plane.
func Rehearse(ctx context.Context, s cpsettings.ControlPlane, privatePEM []byte, accept []string) (result keyring.Recovered, err error) {
	s.Keyring.Enabled = true // a rehearsal may run where no control plane is configured
	keeper, err := keeperOf(s, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return result, err
	}
	store, err := OpenStore(ctx, s, true)
	if err != nil {
		return result, fmt.Errorf("opening the database: %w", err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	cluster, found, err := store.Meta(ctx, metaCluster)
	if err != nil {
		return result, err
	}
	if !found {
		return result, fault.Newf(fault.NotFound, "app.Rehearse", "database", "no control plane with a keyring has used it yet")
	}
	rows, err := store.Keyring(ctx, "")
	if err != nil {
		return result, err
	}
	proves, err := rehearsalProver(s)
	if err != nil {
		return result, err
	}
	return keyring.Rehearse(rows, cluster, proves, keeper, privatePEM, accept)
}

// rehearsalProver checks the rows' proofs by the certificates that a node of these settings would use.
func rehearsalProver(s cpsettings.ControlPlane) (keyring.Prover, error) {
	files, given := peerFiles(s)
	if !given {
		own := filepath.Join(s.Process.Prefix, "peer")
		paths := certs.PathsIn(own)
		files = mtls.Files{Cert: filepath.Join(own, "node.crt"), Key: filepath.Join(own, "node.key"), CA: paths.CA, CRL: paths.CRL}
		if _, err := os.Stat(files.CA); err != nil {
			return nil, fault.Newf(fault.Invalid, "app.Rehearse", "peer_ca_cert", "without this node's certificates nobody can tell who wrote the "+
				"keyring's rows: give the settings of a control plane node (--conf, or peer_cert, peer_cert_key and peer_ca_cert)")
		}
	}
	source, err := mtls.OpenWith(files, mtls.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	return prover{source, proof.Ever}, nil
}
