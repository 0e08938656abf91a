package proof_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/mtls/proof"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

var update = flag.Bool("update", false, "write the golden files anew")

func signers(t *testing.T) map[string]crypto.Signer {
	t.Helper()
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsa2048, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]crypto.Signer{"p256": nil, "p384": p384, "rsa": rsa2048, "ed25519": ed}
}

func controlPlane() mtlstest.Leaf {
	return mtlstest.Leaf{Identity: identity.Identity{Role: identity.ControlPlane, Name: "cp-1"}}
}

func wantReason(t *testing.T, err error, want verdict.Reason) {
	t.Helper()
	if err == nil {
		t.Fatalf("accepted, want refusal %q", want)
	}
	if got := verdict.Explain(err); got.Reason != want {
		t.Fatalf("refused as %q (%v), want %q", got.Reason, err, want)
	}
}

func open(t *testing.T, files mtls.Files) *mtls.Source {
	t.Helper()
	source, err := mtls.Open(files)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func signed(t *testing.T, s *mtls.Source, context, message string) []byte {
	t.Helper()
	said, err := s.Sign(context, []byte(message))
	if err != nil {
		t.Fatal(err)
	}
	return said
}

func TestProven(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	middle := ca.Intermediate(t, "middle")
	checker, files, _ := ca.Source(t, controlPlane())
	mtlstest.Write(t, files.CRL, bytes.Join([][]byte{ca.CRL(t, 1, time.Now().Add(time.Hour)), middle.CRL(t, 1, time.Now().Add(time.Hour))}, nil))
	mtlstest.Write(t, files.CA, bytes.Join([][]byte{ca.PEM, middle.PEM}, nil))
	if err := checker.Reload(); err != nil {
		t.Fatal(err)
	}
	for name, key := range signers(t) {
		leaf := controlPlane()
		leaf.Key = key
		pair := middle.Issue(t, leaf)
		pair.CertPEM = append(pair.CertPEM, middle.PEM...)
		signer := open(t, ca.Files(t, pair)) // the root alone: the chain comes with the said
		said := signed(t, signer, "lease", "alive")
		for _, at := range []proof.Moment{proof.Now, proof.Ever, proof.Now, proof.Ever} { // from the cache, too
			id, err := checker.Proven("lease", []byte("alive"), said, at, identity.ControlPlane)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if id.String() != "keepgate://control-plane/acme/-/cp-1" || id.Serial != identity.SerialText(pair.Cert.SerialNumber) {
				t.Errorf("%s: Proven = %v", name, id)
			}
		}
		for _, other := range [][2]string{{"lease", "alivf"}, {"leas", "ealive"}, {"leasealive", ""}, {"", "leasealive"}, {"leasea", "live"}} {
			_, err := checker.Proven(other[0], []byte(other[1]), said, proof.Now, identity.ControlPlane)
			wantReason(t, err, verdict.BadProof)
		}
		for i := range said {
			bent := bytes.Clone(said)
			bent[i] ^= 1
			if id, err := checker.Proven("lease", []byte("alive"), bent, proof.Now, identity.ControlPlane); err == nil {
				t.Fatalf("%s: with byte %d changed Proven = %v", name, i, id)
			}
			if _, err := checker.Proven("lease", []byte("alive"), said[:i], proof.Now, identity.ControlPlane); err == nil {
				t.Fatalf("%s: cut at %d it proves something", name, i)
			}
		}
		_, err := checker.Proven("lease", []byte("alive"), append(bytes.Clone(said), 0), proof.Now, identity.ControlPlane)
		wantReason(t, err, verdict.BadProof)
	}
}

func TestProvenRefuses(t *testing.T) {
	t.Parallel()
	ca, other := mtlstest.NewCA(t, "cluster"), mtlstest.NewCA(t, "cluster")
	checker, files, _ := ca.Source(t, controlPlane())
	changed := func(change func(*mtlstest.Leaf)) mtlstest.Leaf {
		leaf := controlPlane()
		change(&leaf)
		return leaf
	}
	tests := map[string]struct {
		ca        *mtlstest.CA
		leaf      mtlstest.Leaf
		now, ever verdict.Reason
	}{
		"another CA":          {other, controlPlane(), verdict.UnknownCA, verdict.UnknownCA},
		"a data plane":        {ca, mtlstest.Leaf{}, verdict.WrongRole, verdict.WrongRole},
		"an administrator":    {ca, mtlstest.Leaf{Identity: identity.Identity{Role: identity.Admin}}, verdict.WrongRole, verdict.WrongRole},
		"another house":       {ca, changed(func(l *mtlstest.Leaf) { l.Identity.Organisation = "umbrella" }), verdict.WrongOrganisation, verdict.WrongOrganisation},
		"expired":             {ca, changed(func(l *mtlstest.Leaf) { l.NotAfter = time.Now().Add(-time.Minute) }), verdict.Expired, ""},
		"not yet valid":       {ca, changed(func(l *mtlstest.Leaf) { l.NotBefore = time.Now().Add(time.Minute) }), verdict.NotYetValid, verdict.NotYetValid},
		"no signatures":       {ca, changed(func(l *mtlstest.Leaf) { l.KeyUsage = x509.KeyUsageKeyAgreement }), verdict.WrongUsage, verdict.WrongUsage},
		"for mail":            {ca, changed(func(l *mtlstest.Leaf) { l.Usages = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} }), verdict.WrongUsage, verdict.WrongUsage},
		"revoked":             {ca, changed(func(l *mtlstest.Leaf) { l.Identity.Name = "revoked" }), verdict.Revoked, verdict.Revoked},
		"revoked and expired": {ca, changed(func(l *mtlstest.Leaf) { l.Identity.Name, l.NotAfter = "revoked", time.Now().Add(-time.Minute) }), verdict.Expired, verdict.Revoked},
	}
	var revoked []mtlstest.Pair
	proofs := make(map[string][]byte)
	for name, test := range tests {
		pair := test.ca.Issue(t, test.leaf)
		if test.leaf.Identity.Name == "revoked" {
			revoked = append(revoked, pair)
		}
		proofs[name] = signed(t, open(t, test.ca.Files(t, pair)), "lease", "alive")
	}
	mtlstest.Write(t, files.CRL, ca.CRL(t, 2, time.Now().Add(time.Hour), revoked...))
	if err := checker.Reload(); err != nil {
		t.Fatal(err)
	}
	for name, said := range proofs {
		for range 2 {
			_, err := checker.Proven("lease", []byte("alive"), said, proof.Now, identity.ControlPlane)
			wantReason(t, err, tests[name].now)
			_, err = checker.Proven("lease", []byte("alive"), said, proof.Ever, identity.ControlPlane)
			if tests[name].ever == "" && err != nil {
				t.Errorf("%s: ever: %v", name, err)
			} else if tests[name].ever != "" {
				wantReason(t, err, tests[name].ever)
			}
		}
	}
}

// TestProvenForgetsNothing: what the cache remembers ends with the trust and with the certificate.
func TestProvenForgetsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca := mtlstest.NewCA(t, "cluster")
		checker, files, _ := ca.Source(t, controlPlane())
		leaf := controlPlane()
		leaf.NotBefore = time.Now().Add(-48 * time.Hour) // before its CA began
		signer, _, pair := ca.Source(t, leaf)
		prove := func(at proof.Moment) error {
			_, err := checker.Proven("lease", nil, signed(t, signer, "lease", ""), at, identity.ControlPlane)
			return err
		}
		believed := func() bool { return checker.Believes(signed(t, signer, "another", "message")) }
		if believed() || checker.Believes(nil) {
			t.Error("a chain that was never seen is believed")
		}
		if err := prove(proof.Now); err != nil {
			t.Fatal(err)
		}
		if !believed() {
			t.Error("a chain that was proven is not believed")
		}
		time.Sleep(2 * time.Hour) // the certificate lives one
		wantReason(t, prove(proof.Now), verdict.Expired)
		if believed() {
			t.Error("an expired chain is believed")
		}
		for range 2 {
			if err := prove(proof.Ever); err != nil {
				t.Fatal(err)
			}
		}
		mtlstest.Write(t, files.CRL, ca.CRL(t, 2, time.Now().Add(time.Hour), pair))
		if err := checker.Reload(); err != nil {
			t.Fatal(err)
		}
		wantReason(t, prove(proof.Ever), verdict.Revoked)
	})
}

// TestGoldenProofs: what was stored must stay readable. The certificates have expired.
func TestGoldenProofs(t *testing.T) {
	t.Parallel()
	if *update {
		writeGoldenProofs(t)
	}
	root, err := os.ReadFile("testdata/proof-ca.golden")
	if err != nil {
		t.Fatal(err)
	}
	ca := mtlstest.NewCA(t, "cluster")
	files := ca.Files(t, ca.Issue(t, controlPlane()))
	files.CRL = ""
	mtlstest.Write(t, files.CA, append(bytes.Clone(ca.PEM), root...))
	checker := open(t, files)
	for name := range signers(t) {
		said, err := os.ReadFile(filepath.Join("testdata", "proof-"+name+".golden"))
		if err != nil {
			t.Fatal(err)
		}
		id, err := checker.Proven("golden", []byte("frozen"), said, proof.Ever, identity.ControlPlane)
		if err != nil || id.String() != "keepgate://control-plane/acme/-/cp-1" {
			t.Errorf("%s: Proven = %v, %v", name, id, err)
		}
		_, err = checker.Proven("golden", []byte("frozen"), said, proof.Now, identity.ControlPlane)
		wantReason(t, err, verdict.Expired)
	}
}

func writeGoldenProofs(t *testing.T) {
	ca := mtlstest.NewCA(t, "golden")
	mtlstest.Write(t, "testdata/proof-ca.golden", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Cert.Raw}))
	for name, key := range signers(t) {
		leaf := controlPlane()
		leaf.Key, leaf.NotAfter = key, time.Now().Add(-time.Minute)
		signer := open(t, ca.Files(t, ca.Issue(t, leaf)))
		mtlstest.Write(t, "testdata/proof-"+name+".golden", signed(t, signer, "golden", "frozen"))
	}
}

func FuzzProven(f *testing.F) {
	ca := mtlstest.NewCA(f, "cluster")
	checker, _, _ := ca.Source(f, mtlstest.Leaf{Identity: identity.Identity{Role: identity.ControlPlane}})
	said, err := checker.Sign("fuzz", []byte("seed"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(said)
	f.Add([]byte{1, 1, 0, 0, 0, 1, 0x30, 0, 1, 1})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		id, err := checker.Proven("fuzz", []byte("seed"), data, proof.Now, identity.ControlPlane)
		if err == nil && id.String() != checker.Identity().String() {
			t.Fatalf("%x proves %v", data, id)
		}
		if _, refused := errors.AsType[*verdict.Refusal](err); err != nil && !refused {
			t.Fatalf("%v is no refusal", err)
		}
	})
}
