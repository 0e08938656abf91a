package proof_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"testing"

	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/mtls/proof"
	"github.com/keepgate/keepgate/shared/mtls/trust"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

// A key that can be broken proves nothing, whoever has signed its certificate.
func TestAShortKeyProvesNothing(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	server, _, _ := ca.Source(t, controlPlane())
	for bits, want := range map[int]verdict.Reason{1024: verdict.BadProof, 2048: ""} {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		leaf := ca.Issue(t, mtlstest.Leaf{Key: key})
		said, err := proof.Signed(func(digest []byte) ([]byte, error) {
			return rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		}, "lease", []byte("x"), leaf.Cert.Raw)
		if err != nil {
			t.Fatal(err)
		}
		_, err = server.Proven("lease", []byte("x"), said, proof.Now, identity.DataPlane)
		if want == "" && err != nil {
			t.Errorf("%d bits: %v", bits, err)
		} else if want != "" {
			wantReason(t, err, want)
		}
	}
}

// A certificate that everybody has proves nothing about who said something, to those who go by it.
func TestASharedCertificateProvesNothing(t *testing.T) {
	t.Parallel()
	files, pair := mtlstest.SharedFiles(t)
	server, err := mtls.OpenWith(files, mtls.Options{Mode: trust.Shared, Role: identity.ControlPlane})
	if err != nil {
		t.Fatal(err)
	}
	key, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Sign("lease", []byte("x")); err == nil {
		t.Error("it signs")
	}
	said, err := proof.By(key.PrivateKey, "lease", []byte("x"), pair.Cert.Raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []proof.Moment{proof.Now, proof.Ever} {
		_, err = server.Proven("lease", []byte("x"), said, at, identity.Roles()...)
		wantReason(t, err, verdict.BadProof)
	}
}

// What is remembered of chains is bounded, and nobody gets a place without having signed.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	_, files, _ := ca.Source(t, controlPlane())
	witness, err := mtls.OpenWitness(files.CA, files.CRL)
	if err != nil {
		t.Fatal(err)
	}
	for i := range proof.MaxBelieved + 2 {
		leaf := ca.Issue(t, mtlstest.Leaf{})
		key, err := tls.X509KeyPair(leaf.CertPEM, leaf.KeyPEM)
		if err != nil {
			t.Fatal(err)
		}
		said, err := proof.By(key.PrivateKey, "lease", []byte("x"), leaf.Cert.Raw)
		if err != nil {
			t.Fatal(err)
		}
		before := proof.Remembered(witness)
		if _, err := witness.Proven("lease", []byte("y"), said, proof.Now, identity.DataPlane); err == nil || proof.Remembered(witness) != before {
			t.Fatalf("what it did not sign: %v, and %d chains are remembered after %d", err, proof.Remembered(witness), before)
		}
		if _, err := witness.Proven("lease", []byte("x"), said, proof.Now, identity.DataPlane); err != nil {
			t.Fatal(err)
		}
		if n := proof.Remembered(witness); n == 0 || n > proof.MaxBelieved {
			t.Fatalf("%d chains are remembered after %d", n, i+1)
		}
	}
}
