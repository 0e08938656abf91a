package authority_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/controlplane/enrol/authority"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/privatekey"
)

func crlOf(t testing.TB, folder string) []*x509.RevocationList {
	t.Helper()
	found, err := certs.ReadFile(certs.PathsIn(folder).CRL)
	if err != nil {
		t.Fatal(err)
	}
	var lists []*x509.RevocationList
	for _, one := range found {
		lists = append(lists, one.(*x509.RevocationList))
	}
	return lists
}

func certificates(ca *certs.Authority) []*x509.Certificate {
	return []*x509.Certificate{ca.Certificate()}
}

// TestRotation goes the whole way, and tries each step before its time.
func TestRotation(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	n := e.node()
	e.must(n.create(t, e.ca, false))
	oldChain, _, err := n.Certify(who("gw"), newKey(t).Public(), time.Hour)
	e.must(err)
	first := n.Sequence()
	old := authority.Fingerprint(e.ca.Certificate())
	next, dir := e.after()
	id := authority.Fingerprint(next.Certificate())

	wantFault(t, n.create(t, next, true), fault.Conflict, "nobody believes this authority", "fleet authority trust")
	wantFault(t, n.Retire(t.Context(), old, true), fault.Conflict, "this authority signs")
	wantFault(t, n.Trust(t.Context(), certificates(next), nil), fault.Invalid, "--crl")
	e.must(n.Trust(t.Context(), certificates(next), crlOf(t, dir)))
	second := n.Sequence()
	if trust, _ := n.Bundle(); len(trust.GetAuthorities()) != 2 || len(trust.GetRevocationLists()) != 2 {
		t.Errorf("the bundle: %d authorities, %d lists", len(trust.GetAuthorities()), len(trust.GetRevocationLists()))
	}

	up, slow := authority.Holder{Name: "cp-1", Sequence: second, Roots: []string{old}}, authority.Holder{Name: "cp-2", Sequence: first, Roots: []string{old}}
	here, away := authority.Holder{Name: "prod/here", Sequence: second, Roots: []string{old}}, authority.Holder{Name: "prod/away", Sequence: first, Roots: []string{old}}
	files := authority.Holder{Name: "prod/files", Roots: []string{old}}
	n.seen([]authority.Holder{up, slow}, []authority.Holder{here, away, files})
	err = n.create(t, next, false)
	wantFault(t, err, fault.Conflict, "cp-2", "prod/away", "--force")
	for _, ready := range []string{"cp-1", "prod/here", "prod/files"} {
		if strings.Contains(err.Error(), ready) {
			t.Errorf("%s is waited for: %v", ready, err)
		}
	}
	e.must(n.create(t, next, true))
	newChain, _, err := n.Certify(who("gw"), newKey(t).Public(), time.Hour)
	e.must(err)
	for name, chain := range map[string][][]byte{"the former's": oldChain, "the next's": newChain} {
		if err := n.source.Check(shows(t, chain), identity.DataPlane); err != nil {
			t.Errorf("a data plane of %s is refused: %v", name, err)
		}
	}

	if n.SignerAt(time.Now()) != id || n.SignerAt(time.Unix(1, 0)) != "" {
		t.Errorf("now %s signs, and long ago %q did", n.SignerAt(time.Now()), n.SignerAt(time.Unix(1, 0)))
	}
	slow.Sequence, away.Sequence = second, second
	n.seen([]authority.Holder{up, slow}, []authority.Holder{here, away, files})
	wantFault(t, n.Retire(t.Context(), id, true), fault.Conflict, "this authority signs")
	wantFault(t, n.Retire(t.Context(), old, false), fault.Conflict, "cp-1", "cp-2", "prod/here", "prod/away", "prod/files")
	up.Roots, slow.Roots = []string{id, old}, []string{id, old} // by the word of the former one
	here.Roots, files.Roots = []string{id}, []string{id}
	n.seen([]authority.Holder{up, slow}, []authority.Holder{here, away, files})
	err = n.Retire(t.Context(), old, false)
	wantFault(t, err, fault.Conflict, "prod/away")
	if strings.Contains(err.Error(), "cp-1") || strings.Contains(err.Error(), "prod/here") {
		t.Errorf("somebody is waited for who needs it no more: %v", err)
	}
	status, err := n.Status(t.Context())
	e.must(err)
	if needing := status.Authorities[0].Needing; len(needing) != 1 || !strings.Contains(needing[0], "prod/away") {
		t.Errorf("needed by %v", needing)
	}
	away.Roots = []string{id}
	n.seen([]authority.Holder{up, slow}, []authority.Holder{here, away, files})
	wantFault(t, n.Retire(t.Context(), old[:4], false), fault.Invalid, "no fingerprint")
	wantFault(t, n.Retire(t.Context(), strings.Repeat("0", 64), false), fault.NotFound, "no such authority")
	e.must(n.Retire(t.Context(), strings.ToUpper(old[:16]), false))
	if err := n.source.Check(shows(t, oldChain), identity.DataPlane); err == nil {
		t.Error("a data plane of the retired one is let in, which the files still name")
	}
	if err := n.source.Check(shows(t, newChain), identity.DataPlane); err != nil {
		t.Errorf("a data plane of the next one is refused: %v", err)
	}
	if trust, _ := n.Bundle(); len(trust.GetAuthorities()) != 1 || len(trust.GetRevocationLists()) != 1 {
		t.Errorf("the bundle: %d authorities, %d lists", len(trust.GetAuthorities()), len(trust.GetRevocationLists()))
	}
	wantFault(t, n.create(t, e.ca, true), fault.Conflict, "was retired")
	sequence := n.Sequence()
	e.must(n.Retire(t.Context(), old, false))
	if n.Sequence() != sequence {
		t.Error("retiring it again is a change")
	}
}

func TestRetireForced(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	n := e.node()
	e.must(n.create(t, e.ca, false))
	wantFault(t, n.Retire(t.Context(), authority.Fingerprint(e.ca.Certificate()), true), fault.Conflict, "signs")
	next, dir := e.after()
	e.must(n.Trust(t.Context(), certificates(next), crlOf(t, dir)))
	n.seen(nil, []authority.Holder{{Name: "prod/away", Sequence: 1, Roots: []string{authority.Fingerprint(next.Certificate())}}})
	wantFault(t, n.Retire(t.Context(), authority.Fingerprint(next.Certificate()), false), fault.Conflict, "prod/away")
	e.must(n.Retire(t.Context(), authority.Fingerprint(next.Certificate()), true))
	if !strings.Contains(n.journal.text(), "force yes") {
		t.Errorf("that it was forced is not in the journal:\n%s", n.journal.text())
	}
	e.must(n.Trust(t.Context(), certificates(next), crlOf(t, dir))) // brought back
	status, err := n.Status(t.Context())
	if err != nil || status.Authorities[1].State != authority.Trusted {
		t.Errorf("%+v, %v", status, err)
	}
}

// TestTheLastIsKept: somebody has to be believed.
func TestTheLastIsKept(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	n := e.node()
	_, err := n.Request(t.Context(), e.ca.Certificate(), false) // nobody signs yet
	e.must(err)
	wantFault(t, n.Retire(t.Context(), authority.Fingerprint(e.ca.Certificate()), true), fault.Conflict, "nobody would be believed")
}

func TestFamily(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.folder = t.TempDir() + "/two"
	e.ca = e.open(certs.Create(e.folder, "acme", certs.Options{Intermediate: true}))
	n := e.node()
	e.must(n.create(t, e.ca, false))
	chain, _, err := n.Certify(who("gw"), newKey(t).Public(), time.Hour)
	if err != nil || len(chain) != 3 {
		t.Fatalf("a chain of %d, %v", len(chain), err)
	}
	if err := n.source.Check(shows(t, chain), identity.DataPlane); err != nil {
		t.Error(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(e.ca.Root())
	between := x509.NewCertPool()
	for _, cert := range shows(t, chain).PeerCertificates[1:] {
		between.AddCert(cert)
	}
	if _, err := shows(t, chain).PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Errorf("who knows the root alone does not believe it: %v", err)
	}
	root := authority.Fingerprint(e.ca.Root())
	if commands, _ := n.Orders("gw", root, n.Sequence()); len(commands) != 0 {
		t.Errorf("a data plane is told to renew, whose root is above the one that signs: %v", kinds(commands))
	}
	wantFault(t, n.Retire(t.Context(), root, true), fault.Conflict, "signs")
	next, dir := e.after()
	e.must(n.Trust(t.Context(), certificates(next), crlOf(t, dir)))
	e.must(n.create(t, next, true))
	e.must(n.Retire(t.Context(), root, true))
	status, err := n.Status(t.Context())
	e.must(err)
	for _, r := range status.Authorities {
		if (r.State == authority.Retired) != (r.Fingerprint != authority.Fingerprint(next.Certificate())) {
			t.Errorf("%s is %s", r.Subject, r.State)
		}
	}
}

func kinds(commands []*syncv1.Command) (kinds []string) {
	for _, c := range commands {
		switch c.GetCommand().(type) {
		case *syncv1.Command_Trust:
			kinds = append(kinds, "trust")
		case *syncv1.Command_Renew:
			kinds = append(kinds, "renew")
		}
	}
	return kinds
}

func TestOrders(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	n := e.node()
	if commands, _ := n.Orders("gw", "", 0); len(commands) != 0 {
		t.Errorf("orders without a document: %v", kinds(commands))
	}
	e.must(n.create(t, e.ca, false))
	old := authority.Fingerprint(e.ca.Certificate())
	first := n.Sequence()
	_, changed := n.Orders("gw", old, first)
	next, dir := e.after()
	e.must(n.Trust(t.Context(), certificates(next), crlOf(t, dir)))
	select {
	case <-changed:
	case <-time.After(30 * time.Second):
		t.Error("nobody is told that there are other orders")
	}
	second, id := n.Sequence(), authority.Fingerprint(next.Certificate())
	e.must(n.create(t, next, false))
	now := n.Sequence()
	for name, test := range map[string]struct {
		root     string
		sequence uint64
		want     string
	}{
		"one that knows nothing of it":      {old, first, "trust"},
		"one that believes the next":        {old, second, "renew"},
		"one that knows all":                {old, now, "renew"},
		"one of the next":                   {id, now, ""},
		"one of the next that lags":         {id, first, "trust"},
		"one with files of its operator":    {old, 0, ""},
		"one of whose root nothing is told": {"", now, ""},
	} {
		// The one link of this node has its turn within a twentieth of a second.
		got := ""
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
			commands, changed := n.Orders("gw", test.root, test.sequence)
			if got = strings.Join(kinds(commands), " "); got == test.want {
				break
			}
			<-changed
		}
		if got != test.want {
			t.Errorf("%s is told %q, want %q", name, got, test.want)
		}
	}
}

func TestTrustRefuses(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	n := e.node()
	e.must(n.create(t, e.ca, false))
	leaf, err := e.ca.Issue(certs.Spec{Name: "gw"})
	e.must(err)
	folder := t.TempDir() + "/ca"
	foreign := e.open(certs.Create(folder, "acme", certs.Options{}))
	other := t.TempDir() + "/other"
	e.open(certs.Create(other, "acme", certs.Options{}))
	short := e.open(certs.Create(t.TempDir()+"/short", "acme", certs.Options{Valid: time.Nanosecond}))
	asked, err := n.Request(t.Context(), e.ca.Certificate(), false)
	e.must(err)
	edge := sign(t, e.ca, asked.PEM)
	sequence := n.Sequence()
	for name, test := range map[string]struct {
		authorities []*x509.Certificate
		lists       []*x509.RevocationList
		says        string
	}{
		"a leaf":                   {parsed(t, leaf.CertPEM), nil, "no authority's certificate"},
		"an edge authority":        {edge[:1], nil, "held to data-plane"},
		"one that has ended":       {certificates(short), nil, "expired"},
		"one without a list":       {certificates(foreign), nil, "--crl"},
		"one with somebody's list": {certificates(foreign), crlOf(t, other), "not believed"},
		"one with a delta list":    {certificates(foreign), []*x509.RevocationList{partial(t, folder, foreign.Certificate(), 27, "\x02\x01\x01")}, "delta CRL"},
		"one below a list of users": {
			append(certificates(foreign), below(t, folder, foreign.Certificate())),
			[]*x509.RevocationList{partial(t, folder, foreign.Certificate(), 28, "\x30\x03\x81\x01\xff")},
			`"CN=below" is one of its CA's`,
		},
		"one with a list in parts": {certificates(foreign), []*x509.RevocationList{
			partial(t, folder, foreign.Certificate(), 28, "\x30\x07\xa0\x05\xa0\x03\x86\x01a"), partial(t, folder, foreign.Certificate(), 28, "\x30\x07\xa0\x05\xa0\x03\x86\x01b"),
		}, "partitioned lists are not taken"},
		"a list of nobody believed": {nil, crlOf(t, other), "not believed"},
	} {
		wantFault(t, n.Trust(t.Context(), test.authorities, test.lists), fault.Invalid, test.says)
		if n.Sequence() != sequence {
			t.Fatalf("%s is a change", name)
		}
	}
	e.must(n.Trust(t.Context(), certificates(e.ca), crlOf(t, e.folder)))
	sequence = n.Sequence() // with the newest list
	e.must(n.Trust(t.Context(), certificates(e.ca), crlOf(t, e.folder)))
	if n.Sequence() != sequence {
		t.Error("what is believed already is a change")
	}
	e.must(n.Trust(t.Context(), certificates(foreign), []*x509.RevocationList{partial(t, folder, foreign.Certificate(), 28, "\x30\x03\x81\x01\xff")}))
	wantFault(t, n.Trust(t.Context(), []*x509.Certificate{below(t, folder, foreign.Certificate())}, nil), fault.Invalid, `"CN=below" is one of its CA's`)
}

// partial is a list by the authority of a folder that an extension narrows (RFC 5280 §5.2: 27 of what changed, 28 of what is spoken of).
func partial(t *testing.T, folder string, ca *x509.Certificate, extension int, value string) *x509.RevocationList {
	t.Helper()
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1 << 40), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour),
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, extension}, Critical: true, Value: []byte(value)}},
	}, ca, keyOf(t, folder, ca))
	if err != nil {
		t.Fatal(err)
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// below is an authority below that of a folder.
func below(t *testing.T, folder string, ca *x509.Certificate) *x509.Certificate {
	t.Helper()
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(77), Subject: pkix.Name{CommonName: "below"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, public, keyOf(t, folder, ca))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func keyOf(t *testing.T, folder string, ca *x509.Certificate) crypto.Signer {
	t.Helper()
	keys, err := filepath.Glob(filepath.Join(folder, "*.key"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range keys {
		key, err := privatekey.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		if public, ok := key.Public().(*ecdsa.PublicKey); ok && public.Equal(ca.PublicKey) {
			return key
		}
	}
	t.Fatal("no key of the authority is in its folder")
	return nil
}

// TestListsSpread: a list that one node's files have reaches the others and the bundle; an older one does not come back.
func TestListsSpread(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	here := e.node()
	e.must(here.create(t, e.ca, false))
	there := e.unread(e.files(e.ca, e.folder), e.catalog)
	e.must(there.Load(t.Context()))
	victim, err := e.ca.Issue(certs.Spec{Name: "gw", Environment: "prod"})
	e.must(err)
	chain := [][]byte{parsed(t, victim.CertPEM)[0].Raw}
	if err := there.source.Check(shows(t, chain), identity.DataPlane); err != nil {
		t.Fatal(err)
	}
	if _, err := e.ca.Revoke(certs.Selection{Name: "gw"}); err != nil {
		t.Fatal(err)
	}
	e.must(here.source.Reload())
	sequence := here.Sequence()
	here.OfferLists(t.Context())
	if here.Sequence() <= sequence {
		t.Error("a newer list is no change")
	}
	e.must(there.Load(t.Context()))
	if err := there.source.Check(shows(t, chain), identity.DataPlane); err == nil {
		t.Error("another node lets it in, whose file is older")
	}
	sequence = here.Sequence()
	there.OfferLists(t.Context())
	here.OfferLists(t.Context())
	if e.must(here.Load(t.Context())); here.Sequence() != sequence {
		t.Error("lists that are there already are a change")
	}
}
