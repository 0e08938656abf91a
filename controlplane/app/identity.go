package app

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/lifecycle"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/proof"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
)

const (
	metaCluster = record.MetaDatabase
	renewEvery  = 12 * time.Hour // how often a certificate of this node's own making is looked at
)

// named is the part of the database that holds named values.
type named interface {
	Meta(ctx context.Context, name string) (value string, found bool, err error)
	SwapMeta(ctx context.Context, name string, old *string, value string) error
}

// clusterID is the name of this database's cluster, made by its first node.
func clusterID(ctx context.Context, store named) (string, error) {
	for {
		id, found, err := store.Meta(ctx, metaCluster)
		if err != nil || found {
			return id, err
		}
		made, err := uuid.NewRandomFromReader(rand.Reader)
		if err != nil {
			return "", err
		}
		if err := store.SwapMeta(ctx, metaCluster, nil, made.String()); err != nil && fault.KindOf(err) != fault.Conflict {
			return "", err
		}
	}
}

// peerIdentity is who this node is to the other control plane nodes.
type peerIdentity struct {
	source *mtls.Source
	own    string // the folder of the authority that this node made for itself; "" when it was given a certificate
	spec   certs.Spec
	log    *slog.Logger
}

// peerFiles are the files that the settings name; not ok when they name none.
func peerFiles(s cpsettings.ControlPlane) (files mtls.Files, ok bool) {
	p, c := s.Peers, s.Cluster.Cluster
	if p.Cert != "" || p.Key != "" || p.CACert != "" {
		return mtls.Files{Cert: p.Cert, Key: p.Key, CA: p.CACert, CRL: p.CRL}, true
	}
	if !namesNode(c) {
		return mtls.Files{}, false
	}
	return mtls.Files{Cert: c.Cert, Key: c.Key, CA: c.CACert, CRL: c.CRL}, c.Cert != "" || c.Key != "" || c.CACert != ""
}

// openPeer opens the certificate that the settings name, or one that the node makes for itself.
func openPeer(s cpsettings.ControlPlane, node, hostname string, log *slog.Logger) (*peerIdentity, error) {
	files, given := peerFiles(s)
	p := &peerIdentity{log: log}
	if !given {
		p.own = filepath.Join(s.Process.Prefix, "peer")
		p.spec = certs.Spec{Role: identity.ControlPlane, Name: labelOf(hostname, node), DNS: []string{"localhost"}}
		own, made, err := certs.Own(p.own, p.spec)
		if err != nil {
			return nil, err
		}
		if files = own; made != "" {
			log.Warn("made "+made+" for this control plane node, which prove what it writes into the keyring. Another node of this "+
				"control plane needs a certificate of the same authority: keepgate-cp certs issue NAME --role control-plane --dir "+p.own+
				", given to it as peer_cert, peer_cert_key and peer_ca_cert", "folder", p.own)
		}
	}
	source, err := mtls.OpenWith(files, mtls.Options{Log: log})
	if err != nil {
		return nil, err
	}
	if role := source.Identity().Role; role != identity.ControlPlane {
		return nil, fault.Newf(fault.Invalid, "app.Run", "peer_cert", "it is a certificate of role %s; issue one of role control-plane", role)
	}
	if err := notShared(s.Cluster, source); err != nil {
		return nil, err
	}
	p.source = source
	return p, nil
}

// Run follows the files, and renews a certificate of the node's own making.
func (p *peerIdentity) Run(ctx context.Context) error {
	parts := []lifecycle.Part{{Name: "peer certificates", Run: p.source.Run}}
	if p.own != "" {
		parts = append(parts, lifecycle.Part{Name: "own authority", Run: p.renew})
	}
	return lifecycle.Run(ctx, parts...)
}

func (p *peerIdentity) renew(ctx context.Context) error {
	for lifecycle.Pause(ctx, renewEvery) {
		if _, _, err := certs.Own(p.own, p.spec); err != nil {
			p.log.Error("this node's certificate for its peers was not renewed", "error", err)
		}
	}
	return ctx.Err()
}

// labelOf is a name for a certificate: the host's and the beginning of the node's id.
func labelOf(hostname, node string) string {
	host := strings.Trim(regexp.MustCompile(`[^A-Za-z0-9.-]+`).ReplaceAllString(hostname, "-"), "-.")
	return fmt.Sprintf("%.40s-%.8s", host, node)
}

// prover proves by the node's certificate what it writes, and checks what others wrote.
type prover struct {
	source *mtls.Source
	at     proof.Moment
}

func (p prover) Prove(about string, message []byte) ([]byte, error) {
	return p.source.Sign(about, message)
}

func (p prover) Check(about string, message, said []byte) error {
	_, err := p.source.Proven(about, message, said, p.at, identity.ControlPlane)
	return err
}

// Changed implements keyring.Judge.
func (p prover) Changed() <-chan struct{} { return p.source.Changed() }

// Stale says that a proof counts, and that the certificate behind it has expired since.
func (p prover) Stale(about string, message, said []byte) bool {
	_, err := p.source.Proven(about, message, said, proof.Now, identity.ControlPlane)
	return err != nil
}
