package certs_test

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

func chainOf(t *testing.T, text []byte) (chain []*x509.Certificate) {
	t.Helper()
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		chain = append(chain, must[*x509.Certificate](t)(x509.ParseCertificate(block.Bytes)))
	}
	return chain
}

// TestCreateAfter: whoever believes the former CA alone believes control planes of the next one, and nobody else of it.
func TestCreateAfter(t *testing.T) {
	t.Parallel()
	for name, intermediate := range map[string]struct{ former, next bool }{
		"one CA after another": {}, "below roots": {true, true}, "the former below a root": {former: true}, "the next below a root": {next: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			former := must[*certs.Authority](t)(certs.Create(filepath.Join(t.TempDir(), "ca"), "acme", certs.Options{Intermediate: intermediate.former}))
			defer former.Close()
			dir := filepath.Join(t.TempDir(), "next")
			next := must[*certs.Authority](t)(certs.CreateAfter(former, dir, certs.Options{Intermediate: intermediate.next}))
			defer next.Close()
			if next.Organisation() != "acme" {
				t.Errorf("it is of %s", next.Organisation())
			}
			oldest, newest := former.Certificate(), next.Certificate()
			if former.Root() != nil {
				oldest = former.Root()
			}
			if next.Root() != nil {
				newest = next.Root()
			}
			shown := func(role identity.Role) []*x509.Certificate {
				issued, err := next.Issue(certs.Spec{Role: role, Name: "node"})
				if err != nil {
					t.Fatal(err)
				}
				return chainOf(t, issued.CertPEM)
			}
			cp := shown(identity.ControlPlane)
			for who, root := range map[string]*x509.Certificate{"the former": oldest, "the former's own": former.Certificate(), "the next": newest} {
				if err := verify(cp[0], root, cp[1:]...); err != nil {
					t.Errorf("who believes %s does not believe a control plane: %v", who, err)
				}
			}
			between := append(cp[1:], newest, next.Certificate())
			for _, role := range []identity.Role{identity.DataPlane, identity.Admin, identity.KMS} {
				leaf := shown(role)
				if err := verify(leaf[0], oldest, between...); err == nil {
					t.Errorf("who believes the former believes a %s of the next", role)
				}
				if err := verify(leaf[0], newest, leaf[1:]...); err != nil {
					t.Errorf("who believes the next does not believe a %s of it: %v", role, err)
				}
			}
			folder := must[certs.Folder](t)(certs.Read(dir))
			if folder.Cross == nil || !folder.Cross.MaxPathLenZero {
				t.Errorf("the word of the former: %v", folder.Cross)
			}
			revoked, err := former.Revoke(certs.Selection{Name: "cross-" + must[string](t)(certs.KeySHA256(next.Certificate().PublicKey))[:16]})
			if err != nil || len(revoked) != 1 || revoked[0].Role != certs.Cross {
				t.Errorf("taking the word back: %v, %v", revoked, err)
			}
		})
	}
}

func TestCreateAfterRefuses(t *testing.T) {
	t.Parallel()
	former, dir := create(t)
	if _, err := certs.CreateAfter(former, dir, certs.Options{}); err == nil {
		t.Error("into its own folder")
	}
	if _, err := certs.CreateAfter(former, filepath.Join(t.TempDir(), "same"), certs.Options{Name: former.Certificate().Subject.CommonName}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("of the same name: %v", err)
	}
	next := filepath.Join(t.TempDir(), "next")
	if err := must[*certs.Authority](t)(certs.CreateAfter(former, next, certs.Options{})).Close(); err != nil {
		t.Fatal(err)
	}
	foreign, _ := create(t)
	issued, _ := issue(t, foreign, certs.Spec{Name: "x"})
	if err := os.WriteFile(filepath.Join(next, "cross.crt"), issued.CertPEM, 0o600); err != nil {
		t.Fatal(err)
	}
	opened := must[*certs.Authority](t)(certs.Open(next))
	defer opened.Close()
	_, err := opened.Issue(certs.Spec{Role: identity.ControlPlane, Name: "cp"})
	wantFault(t, err, fault.Corrupt, "does not vouch")
	if folder := must[certs.Folder](t)(certs.Read(next)); len(folder.Certificates) != 0 {
		t.Errorf("on record: %v", folder.Certificates)
	}
}
