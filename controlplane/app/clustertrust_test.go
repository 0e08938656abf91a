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
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
)

var silent = slog.New(slog.DiscardHandler)

// clusterOf are settings of these files and mode.
func clusterOf(files mtls.Files, mode trust.Mode, change ...func(*cpsettings.Cluster)) cpsettings.Cluster {
	var c cpsettings.Cluster
	c.Cert, c.Key, c.CACert, c.CRL, c.MTLS, c.OCSP = files.Cert, files.Key, files.CA, files.CRL, string(mode), "off"
	for _, change := range change {
		change(&c)
	}
	return c
}

// trees are certificates of each sort.
type trees struct{ node, host, label, data, shared mtls.Files }

func newTrees(t *testing.T) trees {
	t.Helper()
	ca := mtlstest.NewCA(t, "ca")
	of := func(leaf mtlstest.Leaf) mtls.Files { return ca.Files(t, ca.Issue(t, leaf)) }
	who := identity.Identity{Role: identity.ControlPlane, Name: "cp"}
	shared, _ := mtlstest.SharedFiles(t)
	return trees{
		node: of(mtlstest.Leaf{Identity: who, CN: "cp.example"}), label: of(mtlstest.Leaf{Identity: who}),
		host: of(mtlstest.Leaf{URIs: []string{}, CN: "cp.example", Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}),
		data: of(mtlstest.Leaf{CN: "edge.example"}), shared: shared,
	}
}

func TestClusterSettingsTogether(t *testing.T) {
	t.Parallel()
	f := newTrees(t)
	names := func(c *cpsettings.Cluster) { c.CommonNames = []string{"edge.example"} }
	ocsp := func(value string) func(*cpsettings.Cluster) {
		return func(c *cpsettings.Cluster) { c.OCSP = value }
	}
	crl := func(c *cpsettings.Cluster) { c.CRL = f.node.CRL }
	ca := func(c *cpsettings.Cluster) { c.CACert = f.node.CA }
	keyless := func(c *cpsettings.Cluster) { c.Key = "" }
	caless := func(c *cpsettings.Cluster) { c.CACert, c.CRL = "", "" }
	listless := func(c *cpsettings.Cluster) { c.CRL = "" }
	const revokes, looks = "cluster_mtls = shared can revoke nothing", "looks at no common names: take cluster_allowed_common_names out"
	tests := map[string]struct {
		cpsettings.Cluster
		want string // "" starts
	}{
		"nothing":                       {clusterOf(mtls.Files{}, trust.PKI), ""},
		"pki":                           {clusterOf(f.node, trust.PKI), ""},
		"pki without lists":             {clusterOf(f.node, trust.PKI, listless), ""},
		"pki, ocsp on":                  {clusterOf(f.node, trust.PKI, ocsp("on")), ""},
		"pki, ocsp optional":            {clusterOf(f.node, trust.PKI, ocsp("optional")), ""},
		"pki, names":                    {clusterOf(f.node, trust.PKI, names), "cluster_mtls = pki " + looks},
		"pki without a CA":              {clusterOf(f.node, trust.PKI, caless), "cluster_mtls = pki needs the certificates of the CAs that are believed (cluster_ca_cert)"},
		"pki without a key":             {clusterOf(f.node, trust.PKI, keyless), "cluster certificate and key must be provided to use Hybrid mode"},
		"pki of a data plane":           {clusterOf(f.data, trust.PKI), "it is a certificate of role data-plane; issue one of role control-plane"},
		"pki without an identity":       {clusterOf(f.host, trust.PKI), "no keepgate:// URI SAN"},
		"pki by a shared pair":          {clusterOf(f.shared, trust.PKI, ca), "no keepgate:// URI SAN"},
		"check":                         {clusterOf(f.node, trust.CheckCN), ""},
		"check, ocsp on":                {clusterOf(f.node, trust.CheckCN, ocsp("on")), ""},
		"check, names":                  {clusterOf(f.label, trust.CheckCN, names), ""},
		"check, neither names nor dots": {clusterOf(f.label, trust.CheckCN), "has no parent domain that those of data planes could share"},
		"check without an identity":     {clusterOf(f.host, trust.CheckCN), ""},
		"check of a data plane":         {clusterOf(f.data, trust.CheckCN), "it is a certificate of role data-plane"},
		"check without a CA":            {clusterOf(f.node, trust.CheckCN, caless), "cluster_mtls = pki_check_cn needs"},
		"shared":                        {clusterOf(f.shared, trust.Shared), ""},
		"shared, a CA":                  {clusterOf(f.shared, trust.Shared, ca), ""}, // which Kong does not look at
		"shared, a list":                {clusterOf(f.shared, trust.Shared, crl), revokes},
		"shared, ocsp on":               {clusterOf(f.shared, trust.Shared, ocsp("on")), revokes},
		"shared, ocsp optional":         {clusterOf(f.shared, trust.Shared, ocsp("optional")), revokes},
		"shared, names":                 {clusterOf(f.shared, trust.Shared, names), "cluster_mtls = shared " + looks},
		"shared without a key":          {clusterOf(f.shared, trust.Shared, keyless), "cluster certificate and key must be provided to use Hybrid mode"},
		"shared by a node's own":        {clusterOf(f.node, trust.Shared, listless), "shared needs one of the name kong_clustering"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source, err := clusterSource(test.Cluster, silent)
			if (err == nil) != (test.want == "") || err != nil && (fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("clusterSource = %v, want %q", err, test.want)
			}
			if err == nil && test.Cert != "" && source.Identity().Role != identity.ControlPlane {
				t.Errorf("it is %s", source.Identity())
			}
		})
	}
}

// The certificate between nodes of the control plane is never one that data planes have.
func TestPeersUnderEveryMode(t *testing.T) {
	t.Parallel()
	f := newTrees(t)
	peer := func(files mtls.Files) cpsettings.Peers {
		return cpsettings.Peers{Cert: files.Cert, Key: files.Key, CACert: files.CA, CRL: files.CRL}
	}
	// A pair that names an identity too, so that it would do as a peer's.
	ca := mtlstest.NewCA(t, "ca")
	both := ca.Files(t, ca.Issue(t, mtlstest.Leaf{Identity: identity.Identity{Role: identity.ControlPlane, Name: "cp"}, CN: trust.SharedName}))
	unlisted := func(c *cpsettings.Cluster) { c.CRL = "" }
	tests := map[string]struct {
		cluster cpsettings.Cluster
		peers   cpsettings.Peers
		own     bool   // the node makes a certificate for itself
		want    string // "" opens
	}{
		"pki, by the cluster's":                {cluster: clusterOf(f.node, trust.PKI)},
		"pki, another":                         {cluster: clusterOf(f.node, trust.PKI), peers: peer(f.label)},
		"check, by the cluster's":              {cluster: clusterOf(f.node, trust.CheckCN)},
		"check, a cluster's without identity":  {cluster: clusterOf(f.host, trust.CheckCN), own: true},
		"check, without identity, and another": {cluster: clusterOf(f.host, trust.CheckCN), peers: peer(f.label)},
		"shared":                               {cluster: clusterOf(f.shared, trust.Shared), own: true},
		"shared, and another":                  {cluster: clusterOf(f.shared, trust.Shared), peers: peer(f.label)},
		"shared, the same":                     {cluster: clusterOf(both, trust.Shared, unlisted), peers: peer(both), want: "its key is that of cluster_cert, which with cluster_mtls = shared every data plane has"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := cpsettings.ControlPlane{Cluster: test.cluster, Peers: test.peers}
			s.Process.Prefix = t.TempDir()
			p, err := openPeer(s, "01234567-node", "host", silent)
			if (err == nil) != (test.want == "") || err != nil && (fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), test.want)) {
				t.Fatalf("openPeer = %v, want %q", err, test.want)
			}
			if err == nil && (p.own != "") != test.own {
				t.Errorf("it made a certificate for itself: %v, want %v", p.own != "", test.own)
			}
		})
	}
}

func TestOneNodeUnderAShared(t *testing.T) {
	t.Parallel()
	for _, mode := range []trust.Mode{trust.PKI, trust.CheckCN, trust.Shared} {
		for _, strategy := range []string{"", "local", "cluster", "vault", "kms"} {
			var s cpsettings.ControlPlane
			s.Database.Engine, s.Cluster.MTLS = "postgres", string(mode)
			s.Keyring.Enabled, s.Keyring.Strategy = strategy != "", strategy
			if got, want := soleByTrust(s), mode == trust.Shared && strategy == "cluster"; got != want || got != (whySole(s) != "") {
				t.Errorf("%s, %q: sole %v, want %v", mode, strategy, got, want)
			}
		}
		if why := oneEnvironment(clusterOf(mtls.Files{}, mode)); (why != "") != (mode == trust.Shared) {
			t.Errorf("%s: one environment, %q", mode, why)
		}
	}
}
