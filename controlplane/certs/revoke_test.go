package certs_test

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

// revokedIn returns the number and the serials of the CRL on disk, whose signature it checks.
func revokedIn(t *testing.T, dir string, ca *x509.Certificate) (number int64, serials []string) {
	t.Helper()
	found, err := certs.ReadFile(filepath.Join(dir, "crl.pem"))
	if err != nil {
		t.Fatal(err)
	}
	list, ok := found[0].(*x509.RevocationList)
	if !ok || len(found) > 1 {
		t.Fatalf("crl.pem holds %d things, the first a %T", len(found), found[0])
	}
	if err := list.CheckSignatureFrom(ca); err != nil {
		t.Fatal(err)
	}
	for _, entry := range list.RevokedCertificateEntries {
		serials = append(serials, identity.SerialText(entry.SerialNumber))
	}
	return list.Number.Int64(), serials
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	authority, dir := create(t)
	ca := authority.Certificate()
	one, _ := issue(t, authority, certs.Spec{Name: "edge-1"})
	two, _ := issue(t, authority, certs.Spec{Name: "edge-2"})
	_, three := issue(t, authority, certs.Spec{Name: "edge-3"})
	last, serials := revokedIn(t, dir, ca)
	if len(serials) != 0 {
		t.Fatalf("before: %v revoked", serials)
	}
	colons := strings.ToUpper(two.Identity.Serial[:2] + ":" + two.Identity.Serial[2:])
	steps := []struct {
		name   string
		revoke func() ([]certs.Entry, error)
		want   []string // all revoked by then
		news   int
	}{
		{"by name", func() ([]certs.Entry, error) { return authority.Revoke(certs.Selection{Name: "edge-1"}) }, []string{one.Identity.Serial}, 1},
		{"again", func() ([]certs.Entry, error) { return authority.Revoke(certs.Selection{Name: "edge-1"}) }, []string{one.Identity.Serial}, 0},
		{"by serial as others write it", func() ([]certs.Entry, error) { return authority.Revoke(certs.Selection{Serial: colons}) }, []string{one.Identity.Serial, two.Identity.Serial}, 1},
		{"by certificate", func() ([]certs.Entry, error) { return authority.RevokeCertificate(three) }, []string{one.Identity.Serial, two.Identity.Serial, identity.SerialText(three.SerialNumber)}, 1},
	}
	for _, step := range steps {
		revoked, err := step.revoke()
		if err != nil || len(revoked) != step.news {
			t.Fatalf("%s: %v, %v; want %d", step.name, revoked, err, step.news)
		}
		number, serials := revokedIn(t, dir, ca)
		if number <= last || !slices.Equal(serials, step.want) {
			t.Errorf("%s: CRL %d (before %d) lists %v, want %v", step.name, number, last, serials, step.want)
		}
		last = number
	}
}

func TestRevokeRefuses(t *testing.T) {
	t.Parallel()
	authority, dir := create(t)
	issue(t, authority, certs.Spec{Name: "edge-1", Environment: "prod"})
	issue(t, authority, certs.Spec{Name: "edge-1", Environment: "test"})
	other, _ := create(t)
	_, foreign := issue(t, other, certs.Spec{Name: "edge-1"})
	tests := map[string]struct {
		selection certs.Selection
		kind      fault.Kind
		says      string
	}{
		"nothing":                {certs.Selection{}, fault.Invalid, "either a serial or a name"},
		"both":                   {certs.Selection{Name: "edge-1", Serial: "01"}, fault.Invalid, "either a serial or a name"},
		"an unknown name":        {certs.Selection{Name: "edge-9"}, fault.NotFound, "nothing to that name"},
		"an unknown serial":      {certs.Selection{Serial: "01"}, fault.NotFound, "no such serial"},
		"no serial at all":       {certs.Selection{Serial: "edge-1"}, fault.Invalid, "not a serial number"},
		"a negative serial":      {certs.Selection{Serial: "-1"}, fault.Invalid, "not a serial number"},
		"a serial too long":      {certs.Selection{Serial: strings.Repeat("f", 41)}, fault.Invalid, "not a serial number"},
		"a name of two nodes":    {certs.Selection{Name: "edge-1"}, fault.Conflict, "keepgate://data-plane/acme/prod/edge-1, keepgate://data-plane/acme/test/edge-1"},
		"a name in another role": {certs.Selection{Name: "edge-1", Role: identity.Admin}, fault.NotFound, "nothing to that name"},
	}
	for name, test := range tests {
		_, err := authority.Revoke(test.selection)
		if err == nil || fault.KindOf(err) != test.kind || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want kind %v saying %q", name, err, test.kind, test.says)
		}
	}
	_, err := authority.RevokeCertificate(foreign)
	wantFault(t, err, fault.Invalid, "not of this CA")
	_, err = authority.RevokeCertificate(authority.Certificate())
	wantFault(t, err, fault.Invalid, "no keepgate:// URI SAN")
	if _, serials := revokedIn(t, dir, authority.Certificate()); len(serials) != 0 {
		t.Errorf("refusals revoked %v", serials)
	}
	if revoked, err := authority.Revoke(certs.Selection{Name: "edge-1", Environment: "test"}); err != nil || len(revoked) != 1 {
		t.Errorf("narrowed to one node: %v, %v", revoked, err)
	}
}

// TestAnOldListBringsNobodyBack puts back an issued.json from before a revocation, and a folder from
// before the certificate was issued at all.
func TestAnOldListBringsNobodyBack(t *testing.T) {
	t.Parallel()
	authority, dir := create(t)
	ca := authority.Certificate()
	list := filepath.Join(dir, "issued.json")
	empty, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	issued, cert := issue(t, authority, certs.Spec{Name: "edge-1"})
	known, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := authority.Revoke(certs.Selection{Name: "edge-1"}); err != nil {
		t.Fatal(err)
	}
	_ = authority.Close()
	for _, old := range [][]byte{known, empty} {
		if err := os.WriteFile(list, old, 0o600); err != nil {
			t.Fatal(err)
		}
		before, _ := revokedIn(t, dir, ca)
		authority, err := certs.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		issue(t, authority, certs.Spec{Name: "edge-2"})
		_ = authority.Close()
		number, serials := revokedIn(t, dir, ca)
		if number <= before || !slices.Equal(serials, []string{issued.Identity.Serial}) {
			t.Errorf("CRL %d (before %d) lists %v, want %s", number, before, serials, issued.Identity.Serial)
		}
	}
	// And a certificate that the old list does not know is still revoked by its file.
	authority, err = certs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = authority.Close() }()
	if err := os.Remove(filepath.Join(dir, "crl.pem")); err != nil {
		t.Fatal(err)
	}
	if revoked, err := authority.RevokeCertificate(cert); err != nil || len(revoked) != 1 {
		t.Errorf("by its file: %v, %v", revoked, err)
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	authority, dir := create(t)
	issued, _ := issue(t, authority, certs.Spec{Name: "edge-1"})
	if _, err := authority.Revoke(certs.Selection{Name: "edge-1"}); err != nil {
		t.Fatal(err)
	}
	folder, err := certs.Read(dir) // while another holds the lock, and without the CA's key
	if err != nil {
		t.Fatal(err)
	}
	if len(folder.Certificates) != 1 || folder.Certificates[0].Serial != issued.Identity.Serial || folder.Certificates[0].RevokedAt == 0 || folder.CRL == nil {
		t.Errorf("Read = %+v", folder)
	}
	remove(t, dir, "crl.pem")
	if folder, err = certs.Read(dir); err != nil || !strings.Contains(folder.CRLProblem, "is missing") {
		t.Errorf("without a CRL: %q, %v", folder.CRLProblem, err)
	}
	_, err = certs.Read(t.TempDir())
	wantFault(t, err, fault.NotFound, "ca.crt")
}
