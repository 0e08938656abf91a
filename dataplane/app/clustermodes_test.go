package app

import (
	"crypto/x509"
	"log/slog"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/mtls/trust"
	"github.com/keepgate/keepgate/shared/settings/dpsettings"
)

func TestEveryModeAtTheStart(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "ca")
	node := ca.Files(t, ca.Issue(t, mtlstest.Leaf{}))
	host := ca.Files(t, ca.Issue(t, mtlstest.Leaf{URIs: []string{}, CN: "edge.example", Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}))
	keep := ca.Files(t, ca.Issue(t, mtlstest.Leaf{Identity: identity.Identity{Role: identity.ControlPlane}}))
	shared, _ := mtlstest.SharedFiles(t)
	with := func(f mtls.Files, change func(*mtls.Files)) mtls.Files { change(&f); return f }
	tests := map[string]struct {
		files mtls.Files
		mode  trust.Mode
		want  string // the identity, or what is said
	}{
		"no mode":                     {node, "", "keepgate://data-plane/acme/prod/node-1"},
		"pki":                         {node, trust.PKI, "keepgate://data-plane/acme/prod/node-1"},
		"pki without an identity":     {host, trust.PKI, "no keepgate:// URI SAN"},
		"pki without a CA":            {with(node, func(f *mtls.Files) { f.CA = "" }), trust.PKI, "set cluster_cert, cluster_cert_key and cluster_ca_cert"},
		"pki by a shared pair":        {with(shared, func(f *mtls.Files) { f.CA = node.CA }), trust.PKI, "hybrid gen_cert: set cluster_mtls = shared"},
		"pki by a shared pair, no CA": {shared, trust.PKI, "hybrid gen_cert: set cluster_mtls = shared"},
		"check by a shared pair":      {with(shared, func(f *mtls.Files) { f.CA = node.CA }), trust.CheckCN, "hybrid gen_cert: set cluster_mtls = shared"},
		"check":                       {node, trust.CheckCN, "keepgate://data-plane/acme/prod/node-1"},
		"check without an identity":   {host, trust.CheckCN, "keepgate://data-plane/default/default/edge.example"},
		"check by a control plane's":  {keep, trust.CheckCN, "it is a certificate of role control-plane"},
		"check without a CA":          {with(host, func(f *mtls.Files) { f.CA = "" }), trust.CheckCN, "set cluster_cert, cluster_cert_key and cluster_ca_cert"},
		"shared":                      {shared, trust.Shared, "keepgate://data-plane/default/default/kong_clustering"},
		"shared, a CA":                {with(shared, func(f *mtls.Files) { f.CA = node.CA }), trust.Shared, "keepgate://data-plane/default/default/kong_clustering"},
		"shared, a list":              {with(shared, func(f *mtls.Files) { f.CRL = node.CRL }), trust.Shared, "cluster_mtls = shared can revoke nothing: take cluster_crl out"},
		"shared without a key":        {with(shared, func(f *mtls.Files) { f.Key = "" }), trust.Shared, "with cluster_mtls = shared set cluster_cert and cluster_cert_key to the very pair that the control plane has"},
		"shared, nothing":             {mtls.Files{}, trust.Shared, "with cluster_mtls = shared set cluster_cert and cluster_cert_key"},
		"shared by a node's own":      {with(node, func(f *mtls.Files) { f.CRL = "" }), trust.Shared, "shared needs one of the name kong_clustering"},
		"shared, another node's key":  {with(shared, func(f *mtls.Files) { f.Key = node.Key }), trust.Shared, "does not match"},
		"shared, the key of everyone": {with(shared, func(f *mtls.Files) { f.Cert = node.Cert }), trust.Shared, "does not match"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var c dpsettings.Cluster
			c.Cert, c.Key, c.CACert, c.CRL, c.MTLS, c.ControlPlane = test.files.Cert, test.files.Key, test.files.CA, test.files.CRL, string(test.mode), []string{"cp:8005"}
			source, err := clusterSource(c, slog.New(slog.DiscardHandler))
			if err == nil && source.Identity().String() != test.want {
				t.Errorf("it is %s, want %s", source.Identity(), test.want)
			}
			if err != nil && (fault.KindOf(err) != fault.Invalid || strings.HasPrefix(test.want, "keepgate:") || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("clusterSource = %v, want %s", err, test.want)
			}
		})
	}
}
