package mtls_test

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/mtls/proof"
	"github.com/keepgate/keepgate/shared/mtls/trust"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

// bare are leaves without an identity, as other authorities issue them.
func bare(cn string, dns ...string) mtlstest.Leaf {
	return mtlstest.Leaf{URIs: []string{}, CN: cn, DNS: dns, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
}

func openAs(t *testing.T, files mtls.Files, o mtls.Options) *mtls.Source {
	t.Helper()
	source, err := mtls.OpenWith(files, o)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func TestModesAtTheStart(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	shared, _ := mtlstest.SharedFiles(t)
	of := func(leaf mtlstest.Leaf) mtls.Files { return ca.Files(t, ca.Issue(t, leaf)) }
	without := func(f mtls.Files, change func(*mtls.Files)) mtls.Files { change(&f); return f }
	cp, dp := of(controlPlane()), of(mtlstest.Leaf{})
	host := of(bare("cp.example"))
	tests := map[string]struct {
		files mtls.Files
		mtls.Options
		want string // the identity, or what is said
	}{
		"no mode":                         {cp, mtls.Options{}, "keepgate://control-plane/acme/-/cp-1"},
		"pki, control plane":              {cp, mtls.Options{Mode: trust.PKI, Role: identity.ControlPlane}, "keepgate://control-plane/acme/-/cp-1"},
		"pki, data plane":                 {dp, mtls.Options{Mode: trust.PKI, Role: identity.DataPlane}, "keepgate://data-plane/acme/prod/node-1"},
		"pki without a URI":               {host, mtls.Options{Mode: trust.PKI, Role: identity.ControlPlane}, "no keepgate:// URI SAN"},
		"pki without a CA":                {without(cp, func(f *mtls.Files) { f.CA = "" }), mtls.Options{Mode: trust.PKI}, "cluster_mtls = pki needs the certificates of the CAs that are believed (cluster_ca_cert)"},
		"pki without a certificate":       {without(cp, func(f *mtls.Files) { f.Cert = "" }), mtls.Options{Mode: trust.PKI}, "cluster certificate and key must be provided to use Hybrid mode"},
		"pki without a key":               {without(cp, func(f *mtls.Files) { f.Key = "" }), mtls.Options{Mode: trust.PKI}, "cluster certificate and key must be provided to use Hybrid mode"},
		"pki with names":                  {cp, mtls.Options{Mode: trust.PKI, CommonNames: []string{"a"}}, "cluster_mtls = pki looks at no common names"},
		"pki with the shared pair":        {without(shared, func(f *mtls.Files) { f.CA, f.CRL = cp.CA, cp.CRL }), mtls.Options{Mode: trust.PKI}, "no keepgate:// URI SAN"},
		"check, URI and names":            {cp, mtls.Options{Mode: trust.CheckCN, Role: identity.ControlPlane, CommonNames: []string{"a"}}, "keepgate://control-plane/acme/-/cp-1"},
		"check, no parent domain":         {cp, mtls.Options{Mode: trust.CheckCN, Role: identity.ControlPlane}, `its common name "cp-1" has no parent domain`},
		"check, no URI":                   {host, mtls.Options{Mode: trust.CheckCN, Role: identity.ControlPlane}, "keepgate://control-plane/default/-/cp.example"},
		"check, no URI, data plane":       {host, mtls.Options{Mode: trust.CheckCN, Role: identity.DataPlane}, "keepgate://data-plane/default/default/cp.example"},
		"check, no parent, data plane":    {of(bare("edge")), mtls.Options{Mode: trust.CheckCN, Role: identity.DataPlane}, "keepgate://data-plane/default/default/edge"},
		"check, no name at all":           {of(bare(" ")), mtls.Options{Mode: trust.CheckCN, Role: identity.DataPlane}, "name \" \": only letters"},
		"check without a CA":              {without(cp, func(f *mtls.Files) { f.CA = "" }), mtls.Options{Mode: trust.CheckCN, Role: identity.ControlPlane}, "cluster_mtls = pki_check_cn needs"},
		"check of nobody":                 {cp, mtls.Options{Mode: trust.CheckCN}, "is for the two planes"},
		"check of kms":                    {cp, mtls.Options{Mode: trust.CheckCN, Role: identity.KMS}, "is for the two planes"},
		"shared, control plane":           {shared, mtls.Options{Mode: trust.Shared, Role: identity.ControlPlane}, "keepgate://control-plane/default/-/kong_clustering"},
		"shared, data plane":              {shared, mtls.Options{Mode: trust.Shared, Role: identity.DataPlane}, "keepgate://data-plane/default/default/kong_clustering"},
		"shared, its CA is not looked at": {without(shared, func(f *mtls.Files) { f.CA = "/no/such/file" }), mtls.Options{Mode: trust.Shared, Role: identity.DataPlane}, "keepgate://data-plane/default/default/kong_clustering"},
		"shared with a CRL":               {without(shared, func(f *mtls.Files) { f.CRL = cp.CRL }), mtls.Options{Mode: trust.Shared, Role: identity.DataPlane}, "cluster_mtls = shared can revoke nothing: take cluster_crl out"},
		"shared with responders":          {shared, mtls.Options{Mode: trust.Shared, Role: identity.ControlPlane, Responders: &answers{}}, "cluster_mtls = shared can revoke nothing: set cluster_ocsp = off"},
		"shared with names":               {shared, mtls.Options{Mode: trust.Shared, Role: identity.ControlPlane, CommonNames: []string{"a"}}, "cluster_mtls = shared looks at no common names"},
		"shared without a key":            {without(shared, func(f *mtls.Files) { f.Key = "" }), mtls.Options{Mode: trust.Shared, Role: identity.DataPlane}, "cluster certificate and key must be provided to use Hybrid mode"},
		"shared of another name":          {cp, mtls.Options{Mode: trust.Shared, Role: identity.DataPlane}, "take cluster_crl out"},
		"shared, a node's own":            {without(cp, func(f *mtls.Files) { f.CRL = "" }), mtls.Options{Mode: trust.Shared, Role: identity.DataPlane}, "mode shared needs one of the name kong_clustering"},
		"shared of nobody":                {shared, mtls.Options{Mode: trust.Shared}, "is for the two planes"},
		"another mode":                    {cp, mtls.Options{Mode: "open", Role: identity.ControlPlane}, "cluster_mtls = open is not one of pki, pki_check_cn, shared"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source, err := mtls.OpenWith(test.files, test.Options)
			if err == nil && source.Identity().String() != test.want {
				t.Errorf("it is %s, want %s", source.Identity(), test.want)
			}
			if err != nil && (fault.KindOf(err) != fault.Invalid || strings.HasPrefix(test.want, "keepgate:") || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("OpenWith = %v, want %s", err, test.want)
			}
		})
	}
}

// Both ends of a connection, in every pair of modes.
func TestModesTogether(t *testing.T) {
	t.Parallel()
	ca, other := mtlstest.NewCA(t, "cluster"), mtlstest.NewCA(t, "other")
	sharedFiles, _ := mtlstest.SharedFiles(t)
	elseFiles, _ := mtlstest.SharedFiles(t)
	of := func(leaf mtlstest.Leaf) mtls.Files { return ca.Files(t, ca.Issue(t, leaf)) }
	node := func(f mtls.Files, mode trust.Mode) *mtls.Source {
		return openAs(t, f, mtls.Options{Mode: mode, Role: identity.DataPlane})
	}
	keep := func(f mtls.Files, mode trust.Mode, names ...string) *mtls.Source {
		return openAs(t, f, mtls.Options{Mode: mode, Role: identity.ControlPlane, CommonNames: names})
	}
	identified := controlPlane()
	identified.CN = "cp.example"
	unnamed := bare("cp.example", "cp.example")
	unnamed.IPs = identified.IPs
	cp, host := of(identified), of(unnamed)
	pkiCP, namesCP, checkCP, hostCP := keep(cp, trust.PKI), keep(cp, trust.CheckCN, "node-1", "Named.Else"), keep(cp, trust.CheckCN), keep(host, trust.CheckCN)
	sharedCP := keep(sharedFiles, trust.Shared)
	const own, assumed = "keepgate://data-plane/acme/prod/node-1", "keepgate://data-plane/acme/default/"
	tests := map[string]struct {
		server *mtls.Source
		client *mtls.Source
		name   string // the server name that the client asks for
		seen   string // who the server sees, or its refusal
		refuse string // of the client
	}{
		"pki":                                      {pkiCP, node(of(mtlstest.Leaf{}), trust.PKI), "", own, ""},
		"pki, no URI":                              {pkiCP, node(of(bare("edge.example")), trust.CheckCN), "", "missing URI SAN", ""},
		"pki, of another CA":                       {pkiCP, node(other.Files(t, other.Issue(t, mtlstest.Leaf{})), trust.PKI), "", "refused by the other side", "wrong CA"},
		"names: one of them":                       {namesCP, node(of(mtlstest.Leaf{}), trust.PKI), "", own, ""},
		"names: another":                           {namesCP, node(of(mtlstest.Leaf{CN: "node-2"}), trust.PKI), "", `wrong common name: common name "node-2" is not in cluster_allowed_common_names`, ""},
		"names: no URI":                            {namesCP, node(of(bare("named.else")), trust.CheckCN), "", assumed + "named.else", ""},
		"names: the parent alone":                  {namesCP, node(of(bare("edge.example")), trust.CheckCN), "", "wrong common name", ""},
		"parent: below it":                         {checkCP, node(of(bare("edge.Example")), trust.CheckCN), "", assumed + "edge.Example", ""},
		"parent: with an identity":                 {checkCP, node(of(mtlstest.Leaf{CN: "edge.example"}), trust.PKI), "", own, ""},
		"parent: further below":                    {checkCP, node(of(bare("a.edge.example")), trust.CheckCN), "", `wrong common name: common name "a.edge.example" is not below "example"`, ""},
		"parent: the parent":                       {checkCP, node(of(bare("example")), trust.CheckCN), "", "wrong common name", ""},
		"parent: of another end":                   {checkCP, node(of(bare("edge.badexample")), trust.CheckCN), "", "wrong common name", ""},
		"parent: no label":                         {checkCP, node(of(bare("edge")), trust.CheckCN), "", "wrong common name", ""},
		"parent: an admin":                         {checkCP, openAs(t, of(mtlstest.Leaf{Identity: identity.Identity{Role: identity.Admin}, CN: "edge.example"}), mtls.Options{}), "", "wrong role: role admin", ""},
		"parent: a control plane":                  {checkCP, openAs(t, cp, mtls.Options{}), "", "wrong role: role control-plane", ""},
		"no URIs at all":                           {hostCP, node(of(bare("edge.example")), trust.CheckCN), "cp.example", "keepgate://data-plane/default/default/edge.example", ""},
		"no URIs, of another organisation":         {hostCP, node(of(mtlstest.Leaf{CN: "edge.example"}), trust.CheckCN), "cp.example", `wrong organisation: organisation "acme"`, "refused by the other side"},
		"no URIs, by an address":                   {hostCP, node(of(bare("edge.example")), trust.CheckCN), "127.0.0.1", "keepgate://data-plane/default/default/edge.example", ""},
		"the server has no URI, and no name asked": {hostCP, node(of(bare("edge.example")), trust.CheckCN), "", "refused by the other side", "missing URI SAN"},
		"the server has no URI, and another name":  {hostCP, node(of(bare("edge.example")), trust.CheckCN), "cp2.example", "refused by the other side", "wrong server name"},
		"the server has no URI, and pki":           {hostCP, node(of(mtlstest.Leaf{}), trust.PKI), "cp.example", "refused by the other side", "missing URI SAN"},
		"shared":                                   {sharedCP, node(sharedFiles, trust.Shared), "", "keepgate://data-plane/default/default/kong_clustering", ""},
		"shared, whatever name is set":             {sharedCP, node(sharedFiles, trust.Shared), "cp.example", "keepgate://data-plane/default/default/kong_clustering", ""},
		"another shared one": {
			sharedCP, node(elseFiles, trust.Shared), "", "refused by the other side",
			"not the shared certificate: control plane presented incorrect server certificate during handshake (digest does not match",
		},
		"shared, and pki":         {sharedCP, node(of(mtlstest.Leaf{}), trust.PKI), "", "the other side has another cluster_mtls than shared", "a certificate of this name is that of cluster_mtls = shared, and this side has pki"},
		"shared, and pki and SNI": {sharedCP, node(of(mtlstest.Leaf{}), trust.PKI), "cp.example", "the other side has another cluster_mtls than shared", "a certificate of this name is that of cluster_mtls = shared"},
		"pki, and shared":         {pkiCP, node(sharedFiles, trust.Shared), "", "the other side has cluster_mtls = shared, this one pki", "both planes have the same cluster_cert, and the same cluster_mtls"},
		"check, and shared":       {checkCP, node(sharedFiles, trust.Shared), "", "the other side has cluster_mtls = shared, this one pki_check_cn", "both planes have the same cluster_cert"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := connect(t, test.server.Server(identity.DataPlane), test.client.Client(test.name, identity.ControlPlane))
			if test.refuse != "" {
				if got := test.client.Explain(o.client, o.clientState); got == nil || !strings.Contains(got.Error(), test.refuse) {
					t.Errorf("the client says %v, want %s", got, test.refuse)
				}
			}
			if o.server != nil {
				if got := test.server.Explain(o.server, o.serverState).Error(); !strings.Contains(got, test.seen) {
					t.Errorf("the server says %s, want %s", got, test.seen)
				}
				return
			}
			who, err := test.server.PeerOf(o.serverState)
			if err != nil || who.String() != test.seen || o.client != nil {
				t.Errorf("the server sees %v, %v, the client %v; want %s", who, err, o.client, test.seen)
			}
			if err := test.server.Check(o.serverState, identity.DataPlane); err != nil {
				t.Errorf("Check = %v", err)
			}
			if from, err := test.client.PeerOf(o.clientState); err != nil || from.Role != identity.ControlPlane {
				t.Errorf("the client sees %v, %v", from, err)
			}
			if err := test.client.Check(o.clientState, identity.ControlPlane); err != nil {
				t.Errorf("the client's Check = %v", err)
			}
			if root, err := test.server.Root(o.serverState); err != nil || test.server.Mode() != trust.Shared && !root.Equal(ca.Cert) {
				t.Errorf("Root = %v, %v", root, err)
			}
		})
	}
}

// A common name that cannot be a node's name is nobody's, and one identity below an authority that may issue to others
// only is not assumed.
func TestNobodyIsAssumed(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	identified := controlPlane()
	identified.CN = "cp.example"
	server := openAs(t, ca.Files(t, ca.Issue(t, identified)), mtls.Options{Mode: trust.CheckCN, Role: identity.ControlPlane})
	edge := ca.Edge(t, "edge")
	for name, chain := range map[string][]*x509.Certificate{
		"a blank":            {ca.Issue(t, bare("edge 1.example")).Cert},
		"a path":             {ca.Issue(t, bare("../x.example")).Cert},
		"too long":           {ca.Issue(t, bare(strings.Repeat("x", 64)+".example")).Cert},
		"below a constraint": {edge.Issue(t, bare("edge.example")).Cert, edge.Cert},
	} {
		state := tls.ConnectionState{Version: tls.VersionTLS13, PeerCertificates: chain}
		if err := server.Check(state, identity.DataPlane); err == nil || verdict.Explain(err).Reason != verdict.NoIdentity {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The very certificate, and not just its key or name; and in time.
func TestSharedIsTheVerySame(t *testing.T) {
	t.Parallel()
	files, pair := mtlstest.SharedFiles(t)
	server := openAs(t, files, mtls.Options{Mode: trust.Shared, Role: identity.ControlPlane})
	state := tls.ConnectionState{Version: tls.VersionTLS13, PeerCertificates: []*x509.Certificate{pair.Cert}}
	if err := server.Check(state, identity.DataPlane); err != nil {
		t.Fatal(err)
	}
	wantReason(t, server.Check(state, identity.KMS), verdict.WrongRole)
	wantReason(t, server.Check(tls.ConnectionState{Version: tls.VersionTLS12, PeerCertificates: state.PeerCertificates}, identity.DataPlane), verdict.WrongTLSVersion)
	key, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	self := mtlstest.NewCA(t, "self")
	renewed := self.Issue(t, mtlstest.Leaf{CN: trust.SharedName, URIs: []string{}, Key: key.PrivateKey.(crypto.Signer)})
	state.PeerCertificates = []*x509.Certificate{renewed.Cert, pair.Cert}
	err = server.Check(state, identity.DataPlane)
	wantReason(t, err, verdict.NotShared)
	if want := "data plane presented incorrect client certificate during handshake (digest does not match the control plane certificate)"; !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestSharedAccusesNobody(t *testing.T) {
	t.Parallel()
	files, _ := mtlstest.SharedFiles(t)
	server := openAs(t, files, mtls.Options{Mode: trust.Shared, Role: identity.ControlPlane})
	client := openAs(t, files, mtls.Options{Mode: trust.Shared, Role: identity.DataPlane})
	if _, err := server.Sign("wipe", []byte("x")); err == nil {
		t.Error("a shared certificate signs")
	}
	ca := mtlstest.NewCA(t, "cluster")
	other, _, _ := ca.Source(t, controlPlane())
	said, err := other.Sign("wipe", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if who, err := client.Proven("wipe", []byte("x"), said, proof.Now, identity.ControlPlane); err == nil {
		t.Errorf("Proven = %v", who)
	}
	if err := client.Believe(trust.Bundle{Authorities: []*x509.Certificate{ca.Cert}}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("Believe = %v", err)
	}
	if notices := fmt.Sprint(client.Status().Notices); !strings.Contains(notices, "every node has the same key") {
		t.Errorf("Notices = %s", notices)
	}
}

// An expired pair still starts, and no longer links.
func TestSharedExpires(t *testing.T) {
	t.Parallel()
	files, pair := mtlstest.SharedFiles(t)
	key, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	self := mtlstest.NewCA(t, "self")
	old := self.Issue(t, mtlstest.Leaf{CN: trust.SharedName, URIs: []string{}, Key: key.PrivateKey.(crypto.Signer), NotAfter: time.Now().Add(-time.Minute)})
	write(t, files.Cert, old.CertPEM)
	var log bytes.Buffer
	server := openAs(t, files, mtls.Options{Mode: trust.Shared, Role: identity.ControlPlane, Log: slog.New(slog.NewTextHandler(&log, nil))})
	client := openAs(t, files, mtls.Options{Mode: trust.Shared, Role: identity.DataPlane})
	o := connect(t, server.Server(identity.DataPlane), client.Client("", identity.ControlPlane))
	wantReason(t, o.client, verdict.Expired)
	if !strings.Contains(log.String(), "expired") {
		t.Errorf("the log does not say so: %s", log.String())
	}
}

func TestAllowsName(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	files := ca.Files(t, ca.Issue(t, controlPlane()))
	names := openAs(t, files, mtls.Options{Mode: trust.CheckCN, Role: identity.ControlPlane, CommonNames: []string{"a"}})
	if names.AllowsName("a") != nil || names.AllowsName("b") == nil || openAs(t, files, mtls.Options{}).AllowsName("b") != nil {
		t.Error("AllowsName does not follow the list")
	}
	for want, options := range map[string]mtls.Options{
		"probe": {}, "a": {Mode: trust.CheckCN, Role: identity.ControlPlane, CommonNames: []string{"no name of a node", "a", "b"}},
	} {
		if got := openAs(t, files, options).PermittedName("probe"); got != want {
			t.Errorf("PermittedName = %q, want %q", got, want)
		}
	}
}
