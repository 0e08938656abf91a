package app

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"os"
	"time"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/trust"
	"github.com/keepgate/keepgate/shared/revocation"
	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
)

// How responders are asked: a data plane that connects waits for an answer at most so long, and one that stays is asked
// about again when the answer is so old, or before it ends.
const (
	responderTimeout = 4 * time.Second
	responderRefresh = time.Minute
)

// clusterFiles are those of cluster_cert; not ok when none are set.
func clusterFiles(c settings.Cluster) (files mtls.Files, ok bool) {
	return mtls.Files{Cert: c.Cert, Key: c.Key, CA: c.CACert, CRL: c.CRL}, c.Cert != "" || c.Key != "" || c.CACert != ""
}

// clusterOptions says how data planes are believed.
func clusterOptions(c cpsettings.Cluster, log *slog.Logger) mtls.Options {
	o := mtls.Options{Mode: trust.Mode(c.MTLS), Role: identity.ControlPlane, CommonNames: c.CommonNames, Optional: c.OCSP == "optional", Log: log}
	if c.OCSP == "on" || c.OCSP == "optional" {
		o.Responders = revocation.NewResponders(revocation.Settings{Timeout: responderTimeout, Refresh: responderRefresh}, revocation.Options{Log: log})
	}
	return o
}

// clusterSource reads the cluster certificates; nil when none are configured.
func clusterSource(c cpsettings.Cluster, log *slog.Logger) (*mtls.Source, error) {
	files, ok := clusterFiles(c.Cluster)
	if !ok {
		return nil, nil
	}
	source, err := mtls.OpenWith(files, clusterOptions(c, log))
	if err != nil {
		return nil, err
	}
	if role := source.Identity().Role; role != identity.ControlPlane {
		return nil, fault.Newf(fault.Invalid, "app.Run", "cluster_cert", "it is a certificate of role %s; issue one of role control-plane", role)
	}
	return source, nil
}

// namesNode says whether the cluster certificate tells who this node is, so that it can stand for it among the nodes of
// the control plane. A shared one does not, nor one that only has a common name. One that cannot be read is told of
// where it is opened.
func namesNode(c settings.Cluster) bool {
	switch trust.Mode(c.MTLS) {
	case trust.Shared:
		return false
	case trust.CheckCN:
		data, err := os.ReadFile(c.Cert)
		if err != nil {
			return true
		}
		block, _ := pem.Decode(data)
		if block == nil {
			return true
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return true
		}
		_, err = identity.Of(cert)
		return err == nil
	}
	return true
}

// notShared refuses a peer certificate whose key every data plane has.
func notShared(c cpsettings.Cluster, peer *mtls.Source) error {
	if trust.Mode(c.MTLS) != trust.Shared || c.Cert == "" {
		return nil
	}
	shared, err := clusterSource(c, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	if bytes.Equal(shared.Certificate().RawSubjectPublicKeyInfo, peer.Certificate().RawSubjectPublicKeyInfo) {
		return fault.Newf(fault.Invalid, "app.Run", "peer_cert", "its key is that of cluster_cert, which with cluster_mtls = shared every data plane has: give this node one of its own, "+
			"or take peer_cert out")
	}
	return nil
}

// soleByTrust: with a certificate that every data plane has, nobody else may be a node of this control plane, where
// nodes give each other keys.
func soleByTrust(s cpsettings.ControlPlane) bool {
	return trust.Mode(s.Cluster.MTLS) == trust.Shared && strategyOf(s) == "cluster"
}

func whySole(s cpsettings.ControlPlane) string {
	if !soleByTrust(s) {
		return ""
	}
	return "with cluster_mtls = shared every data plane has this node's key, so that only one node has keyring_strategy = cluster; set cluster_mtls = pki for several"
}

// environmentOfAll is that of every data plane whose certificate names none.
const environmentOfAll = "default"

// oneEnvironment is why there may be no environment but the default one; "" when there may.
func oneEnvironment(c cpsettings.Cluster) string {
	if trust.Mode(c.MTLS) != trust.Shared {
		return ""
	}
	return "with cluster_mtls = shared all data planes have the same certificate, which cannot tell environments apart; set cluster_mtls = pki for several"
}

// checkEnvironments refuses to serve environments that a shared certificate cannot tell apart.
func (p *plane) checkEnvironments(ctx context.Context) error {
	because := oneEnvironment(p.settings.Cluster)
	if because == "" {
		return nil
	}
	rows, err := p.store.List(ctx, record.Query{Table: "environments"})
	if err != nil {
		return err
	}
	for _, row := range rows {
		if name := row.Unique["name"]; name != environmentOfAll {
			return fault.Newf(fault.Invalid, "app.Run", "cluster_mtls", "there is an environment %q beside the default one, but %s", name, because)
		}
	}
	return nil
}
