package certs_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

func TestOwnMakesOnceAndRenews(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "peer")
	spec := certs.Spec{Role: identity.ControlPlane, Name: "node-1", Valid: 48 * time.Hour}
	files, made, err := certs.Own(dir, spec)
	if err != nil || made == "" {
		t.Fatalf("Own = %q, %v", made, err)
	}
	first, err := mtls.Open(files)
	if err != nil {
		t.Fatal(err)
	}
	if got := first.Identity(); got.Role != identity.ControlPlane || got.Name != "node-1" {
		t.Errorf("it is %v", got)
	}
	if _, made, err = certs.Own(dir, spec); err != nil || made != "" {
		t.Errorf("the second time Own = %q, %v", made, err)
	}

	short := spec
	short.Valid = time.Minute // issued certificates begin a while back, so less than a third is left
	if err := os.Remove(files.Cert); err != nil {
		t.Fatal(err)
	}
	if _, made, err = certs.Own(dir, short); err != nil || made != "a certificate" {
		t.Fatalf("after the loss of the certificate Own = %q, %v", made, err)
	}
	if _, made, err = certs.Own(dir, spec); err != nil || made != "a certificate" {
		t.Fatalf("shortly before the end Own = %q, %v", made, err)
	}
	renewed, err := mtls.Open(files)
	if err != nil {
		t.Fatal(err)
	}
	if renewed.Identity().Serial == first.Identity().Serial || time.Until(renewed.Identity().NotAfter) < 24*time.Hour {
		t.Errorf("renewed to %v until %v", renewed.Identity(), renewed.Identity().NotAfter)
	}
}

func TestOwnDoesNotReplaceWhatItCannotRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "node.crt"), []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := certs.Own(dir, certs.Spec{Role: identity.ControlPlane, Name: "node-1"}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("Own = %v", err)
	}
}
