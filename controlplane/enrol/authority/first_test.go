package authority_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/controlplane/enrol/authority"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

func TestTheFirstAuthority(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	n := e.node()
	_, _, err := n.Certify(who("gw"), newKey(t).Public(), time.Hour)
	wantFault(t, err, fault.Unavailable, "fleet authority create")
	wantFault(t, n.Ready(), fault.Unavailable, "fleet authority create")
	if trust, _ := n.Bundle(); trust != nil {
		t.Errorf("there is a bundle without a document: %v", trust)
	}
	_, changed := n.Bundle()
	asked, err := n.Request(t.Context(), e.ca.Certificate(), false)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-changed:
	default:
		t.Error("nobody is told that the bundle has changed")
	}
	if _, _, err := n.Certify(who("gw"), newKey(t).Public(), time.Hour); err == nil {
		t.Error("an authority that was only asked for signs")
	}
	again, err := n.Request(t.Context(), e.ca.Certificate(), false)
	if err != nil || again.Name != asked.Name || !sameKey(t, again.PEM, asked.PEM) {
		t.Errorf("asking again: %v, %q and %q", err, again.Name, asked.Name)
	}
	asking, _ := n.Bundle()
	told := asking.GetSequence()
	if err := n.Install(t.Context(), sign(t, e.ca, again.PEM), false); err != nil {
		t.Fatal(err)
	}
	chain, leaf, err := n.Certify(who("gw"), newKey(t).Public(), time.Hour)
	if err != nil || len(chain) != 2 || !bytes.Equal(chain[0], leaf.Raw) {
		t.Fatalf("%v, a chain of %d", err, len(chain))
	}
	if id, err := identity.Of(leaf); err != nil || id.String() != who("gw").String() {
		t.Errorf("it is %v, %v", id, err)
	}
	if err := n.source.Check(shows(t, chain), identity.DataPlane); err != nil {
		t.Errorf("it is not let in: %v", err)
	}
	trust, _ := n.Bundle()
	if len(trust.GetAuthorities()) != 1 || len(trust.GetRevocationLists()) != 1 || trust.GetSequence() > n.Sequence() || trust.GetSequence() != told {
		t.Errorf("the bundle: %d authorities, %d lists, sequence %d of %d", len(trust.GetAuthorities()), len(trust.GetRevocationLists()), trust.GetSequence(), n.Sequence())
	}
	for _, action := range []string{"authority.request", "authority.install"} {
		if !strings.Contains(n.journal.text(), action) {
			t.Errorf("%s is not in the journal:\n%s", action, n.journal.text())
		}
	}
	if strings.Contains(e.sealed(), "edge-") || !strings.HasPrefix(e.sealed(), "$ke$1$-") {
		t.Errorf("the document rests as %.40q", e.sealed())
	}
	other := e.node()
	if _, _, err := other.Certify(who("gw-2"), newKey(t).Public(), time.Hour); err != nil {
		t.Errorf("another node does not certify: %v", err)
	}
	status, err := other.Status(t.Context())
	if err != nil || status.Sequence != n.Sequence() || len(status.Edges) != 1 || status.Edges[0].State != authority.Signing || status.Authorities[0].State != authority.Signing {
		t.Errorf("%+v, %v", status, err)
	}
}

func sameKey(t *testing.T, x, y []byte) bool {
	t.Helper()
	one, err := certs.ParseRequest(x)
	if err != nil {
		t.Fatal(err)
	}
	other, err := certs.ParseRequest(y)
	return err == nil && bytes.Equal(one.RawSubjectPublicKeyInfo, other.RawSubjectPublicKeyInfo)
}

func TestCertifyRefuses(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	n := e.node()
	e.must(n.create(t, e.ca, false))
	foreign, plane := who("gw"), who("gw")
	foreign.Organisation = "evil"
	plane.Role, plane.Environment = identity.ControlPlane, ""
	for name, id := range map[string]identity.Identity{"another organisation": foreign, "another role": plane} {
		if _, _, err := n.Certify(id, newKey(t).Public(), time.Hour); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	status, err := n.Status(t.Context())
	e.must(err)
	if _, err := e.ca.Revoke(certs.Selection{Serial: status.Edges[0].Serial}); err != nil {
		t.Fatal(err)
	}
	e.must(n.source.Reload())
	n.OfferLists(t.Context())
	_, _, err = n.Certify(who("gw"), newKey(t).Public(), time.Hour)
	wantFault(t, err, fault.Unavailable, "was revoked", "fleet authority create")
	if status, err = n.Status(t.Context()); err != nil || !status.Edges[0].Revoked || !strings.Contains(strings.Join(status.Notices, " "), "was revoked") {
		t.Errorf("%+v, %v", status, err)
	}
	e.must(n.create(t, e.ca, false))
	if _, _, err := n.Certify(who("gw"), newKey(t).Public(), time.Hour); err != nil {
		t.Errorf("another one does not help: %v", err)
	}
}

// TestOnlySealed: where the document would rest in clear, there is none.
func TestOnlySealed(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	n := e.node()
	n.sealing = errTest
	_, err := n.Request(t.Context(), e.ca.Certificate(), false)
	wantFault(t, err, fault.Invalid, errTest.Error())
	wantFault(t, n.Trust(t.Context(), []*x509.Certificate{e.ca.Certificate()}, nil), fault.Invalid, errTest.Error())
	if _, err := e.store.ByUnique(t.Context(), "cluster_trust", "", "name", "cluster"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("something was written: %v", err)
	}
	if n.journal.text() != "" {
		t.Errorf("recorded: %s", n.journal.text())
	}
}

func TestNoEntryNoAct(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	n := e.node()
	n.journal.err = errTest
	if _, err := n.Request(t.Context(), e.ca.Certificate(), false); err == nil {
		t.Error("it acts without an entry")
	}
	if n.Sequence() != 0 {
		t.Error("something was written")
	}
}

func TestInstallRefuses(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	n := e.node()
	early := sign(t, e.ca, request(t, newKey(t), "acme"))
	wantFault(t, n.Install(t.Context(), early, false), fault.Conflict, "nothing was asked for")
	wantFault(t, n.Install(t.Context(), nil, false), fault.Invalid, "no certificate")
	asked, err := n.Request(t.Context(), e.ca.Certificate(), false)
	e.must(err)
	foreign := e.open(certs.Create(t.TempDir()+"/ca", "acme", certs.Options{}))
	other := e.open(certs.Create(t.TempDir()+"/ca", "acme", certs.Options{}))
	csr, err := certs.ParseRequest(asked.PEM)
	e.must(err)
	leaf, err := other.Sign(asked.PEM, certs.Spec{Name: "gw"})
	e.must(err)
	short, err := e.ca.SignEdge(asked.PEM, time.Hour)
	e.must(err)
	for name, test := range map[string]struct {
		chain []*x509.Certificate
		kind  fault.Kind
		says  string
	}{
		"of an authority that nobody believes": {sign(t, foreign, asked.PEM), fault.Invalid, "not of an authority that is believed"},
		"of another key":                       {early, fault.Conflict, "nothing was asked for"},
		"no authority at all":                  {parsed(t, leaf.CertPEM), fault.Invalid, "not an authority's"},
		"the CA itself":                        {[]*x509.Certificate{e.ca.Certificate()}, fault.Conflict, "nothing was asked for"},
		"one that ends at once":                {parsed(t, short.CertPEM), fault.Invalid, "it ends"},
		"one that may do more":                 {[]*x509.Certificate{wide(t, csr)}, fault.Invalid, "it may make authorities"},
	} {
		err := n.Install(t.Context(), test.chain, true)
		if err == nil {
			t.Fatalf("%s is taken", name)
		}
		wantFault(t, err, test.kind, test.says)
	}
	if err := n.Ready(); err == nil {
		t.Error("something signs")
	}
	e.must(n.Install(t.Context(), sign(t, e.ca, asked.PEM), false))
}

func TestInstallTwice(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	n := e.node()
	asked, err := n.Request(t.Context(), e.ca.Certificate(), false)
	e.must(err)
	chain := sign(t, e.ca, asked.PEM)
	e.must(n.Install(t.Context(), chain, false))
	sequence := n.Sequence()
	e.must(n.Install(t.Context(), chain, false))
	if n.Sequence() != sequence {
		t.Error("the same again is a change")
	}
	wantFault(t, n.Install(t.Context(), sign(t, e.ca, asked.PEM), false), fault.Conflict, "nothing was asked for")
}

func request(t *testing.T, key crypto.Signer, organisation string) []byte {
	t.Helper()
	text, err := certs.EdgeRequest(key, organisation, "edge-x")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// wide is an authority over a requested key that nothing holds to data planes.
func wide(t *testing.T, csr *x509.CertificateRequest) *x509.Certificate {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(5), Subject: csr.Subject, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, csr.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
