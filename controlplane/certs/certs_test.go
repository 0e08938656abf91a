package certs_test

import (
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

func create(t *testing.T) (*certs.Authority, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "ca")
	authority, err := certs.Create(dir, "acme", certs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = authority.Close() })
	return authority, dir
}

func issue(t *testing.T, authority *certs.Authority, spec certs.Spec) (certs.Issued, *x509.Certificate) {
	t.Helper()
	issued, err := authority.Issue(spec)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "leaf.crt")
	if err := os.WriteFile(path, issued.CertPEM, 0o600); err != nil {
		t.Fatal(err)
	}
	cert, err := certs.ReadCertificate(path)
	if err != nil {
		t.Fatal(err)
	}
	return issued, cert
}

func wantFault(t *testing.T, err error, kind fault.Kind, says string) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind || !strings.Contains(err.Error(), says) {
		t.Errorf("error %v, want kind %v saying %q", err, kind, says)
	}
}

func TestCA(t *testing.T) {
	t.Parallel()
	authority, dir := create(t)
	ca := authority.Certificate()
	if !ca.IsCA || ca.MaxPathLen != 1 || ca.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign {
		t.Errorf("CA: IsCA %v, path length %d, usage %v", ca.IsCA, ca.MaxPathLen, ca.KeyUsage)
	}
	if years := time.Until(ca.NotAfter).Hours() / 24 / 365; years < 9.9 || years > 10.1 {
		t.Errorf("the CA is valid for %.1f years, want 10", years)
	}
	modes := map[string]os.FileMode{".": 0o700, "ca.key": 0o600, "issued.json": 0o600, "ca.crt": 0o644, "crl.pem": 0o644}
	for name, want := range modes {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want mode %o", name, info, err, want)
		}
	}
	_ = authority.Close()
	before := contents(t, dir)
	_, err := certs.Create(dir, "acme", certs.Options{})
	wantFault(t, err, fault.Conflict, "ca.crt is there already")
	if diff := cmp.Diff(before, contents(t, dir)); diff != "" {
		t.Errorf("a refused init changed the folder:\n%s", diff)
	}
	for _, organisation := range []string{"", "a/b", "../x", "a b"} {
		_, err := certs.Create(t.TempDir(), organisation, certs.Options{})
		wantFault(t, err, fault.Invalid, "organisation")
	}
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[entry.Name()] = string(data)
	}
	return files
}

func TestIssue(t *testing.T) {
	t.Parallel()
	client, both := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	tests := map[string]struct {
		spec   certs.Spec
		id     string
		usages []x509.ExtKeyUsage
		names  []string
	}{
		"a data plane by default": {certs.Spec{Name: "edge-1"}, "keepgate://data-plane/acme/default/edge-1", client, nil},
		"another environment":     {certs.Spec{Name: "edge-1", Environment: "eu.prod_1~b"}, "keepgate://data-plane/acme/eu.prod_1~b/edge-1", client, nil},
		"an admin":                {certs.Spec{Name: "alice", Role: identity.Admin}, "keepgate://admin/acme/-/alice", client, nil},
		"a KMS plugin":            {certs.Spec{Name: "k8s", Role: identity.KMS}, "keepgate://kms/acme/-/k8s", client, nil},
		"a control plane":         {certs.Spec{Name: "cp", Role: identity.ControlPlane}, "keepgate://control-plane/acme/-/cp", both, []string{"localhost", "127.0.0.1", "::1"}},
		"a control plane with names": {
			certs.Spec{Name: "cp", Role: identity.ControlPlane, DNS: []string{"cp.example"}, IPs: []net.IP{net.IPv4(10, 0, 0, 1)}},
			"keepgate://control-plane/acme/-/cp", both,
			[]string{"cp.example", "10.0.0.1"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			authority, _ := create(t)
			issued, cert := issue(t, authority, test.spec)
			id, err := identity.Of(cert)
			if err != nil || id.String() != test.id || issued.Identity.String() != test.id || issued.Identity.Serial != id.Serial {
				t.Errorf("identity %v (%v), issued as %v, want %s", id, err, issued.Identity, test.id)
			}
			got := slices.Clone(cert.DNSNames)
			for _, ip := range cert.IPAddresses {
				got = append(got, ip.String())
			}
			if !slices.Equal(got, test.names) || !slices.Equal(cert.ExtKeyUsage, test.usages) || cert.KeyUsage != x509.KeyUsageDigitalSignature || cert.IsCA {
				t.Errorf("names %v, usages %v, %v, CA %v", got, cert.ExtKeyUsage, cert.KeyUsage, cert.IsCA)
			}
			if bits := cert.SerialNumber.BitLen(); bits < 64 || bits > 128 {
				t.Errorf("a serial of %d bits", bits)
			}
			if days := time.Until(cert.NotAfter).Hours() / 24; days < 364.9 || days > 365.1 {
				t.Errorf("valid for %.1f days, want 365", days)
			}
			pool := x509.NewCertPool()
			pool.AddCert(authority.Certificate())
			if _, err := cert.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: test.usages}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestIssueRefuses(t *testing.T) {
	t.Parallel()
	authority, dir := create(t)
	tests := map[string]struct {
		spec certs.Spec
		says string
	}{
		"no name":                        {certs.Spec{}, "name is empty"},
		"a name with a slash":            {certs.Spec{Name: "../ca"}, "only letters"},
		"a name too long":                {certs.Spec{Name: strings.Repeat("a", 64)}, "longer than 63"},
		"an unknown role":                {certs.Spec{Name: "a", Role: "root"}, `role "root"`},
		"an environment with a space":    {certs.Spec{Name: "a", Environment: "a b"}, "environment"},
		"a control plane's environment":  {certs.Spec{Name: "a", Role: identity.ControlPlane, Environment: "prod"}, "has no environment"},
		"a data plane with a DNS name":   {certs.Spec{Name: "a", DNS: []string{"a.example"}}, "only dials"},
		"a wildcard":                     {certs.Spec{Name: "a", Role: identity.ControlPlane, DNS: []string{"*.example"}}, "wildcards"},
		"an address as a DNS name":       {certs.Spec{Name: "a", Role: identity.ControlPlane, DNS: []string{"10.0.0.1"}}, "is an address"},
		"a DNS name with an empty label": {certs.Spec{Name: "a", Role: identity.ControlPlane, DNS: []string{"a..b"}}, "not a DNS name"},
		"an empty DNS name":              {certs.Spec{Name: "a", Role: identity.ControlPlane, DNS: []string{""}}, "1 to 253"},
		"a validity in the past":         {certs.Spec{Name: "a", Valid: -time.Hour}, "cannot be valid"},
	}
	before := contents(t, dir)
	for name, test := range tests {
		_, err := authority.Issue(test.spec)
		if err == nil || fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want fault.Invalid saying %q", name, err, test.says)
		}
	}
	if diff := cmp.Diff(before, contents(t, dir)); diff != "" {
		t.Errorf("refusals changed the folder:\n%s", diff)
	}
}

func TestALeafDoesNotOutliveTheCA(t *testing.T) {
	t.Parallel()
	authority, err := certs.Create(t.TempDir(), "acme", certs.Options{Valid: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = authority.Close() }()
	issued, cert := issue(t, authority, certs.Spec{Name: "a"})
	if !cert.NotAfter.Equal(authority.Certificate().NotAfter) || len(issued.Notices) != 1 {
		t.Errorf("leaf until %v, CA until %v, notices %q", cert.NotAfter, authority.Certificate().NotAfter, issued.Notices)
	}
}

func TestOnlyOneCommandChangesAFolder(t *testing.T) {
	t.Parallel()
	authority, dir := create(t)
	_, err := certs.Open(dir)
	wantFault(t, err, fault.Unavailable, "another command")
	_ = authority.Close()
	again, err := certs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	_ = again.Close()
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		spoil func(t *testing.T, dir string)
		kind  fault.Kind
		says  string
	}{
		"no CA": {func(t *testing.T, dir string) { remove(t, dir, "ca.crt") }, fault.NotFound, "certs init"},
		"a key open to others": {func(t *testing.T, dir string) {
			if err := os.Chmod(filepath.Join(dir, "ca.key"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, fault.Invalid, "chmod 600"},
		"another CA's key": {func(t *testing.T, dir string) {
			_, other := create(t)
			copyFile(t, filepath.Join(other, "ca.key"), filepath.Join(dir, "ca.key"))
		}, fault.Corrupt, "is not the key of"},
		"another CA's CRL": {func(t *testing.T, dir string) {
			_, other := create(t)
			copyFile(t, filepath.Join(other, "crl.pem"), filepath.Join(dir, "crl.pem"))
		}, fault.Corrupt, "put a sound copy back"},
		"no list":        {func(t *testing.T, dir string) { remove(t, dir, "issued.json") }, fault.Corrupt, "nothing is signed"},
		"a damaged list": {overwrite("issued.json", `{"version":1,`), fault.Corrupt, "issued.json"},
		"a damaged CRL":  {overwrite("crl.pem", "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n"), fault.Corrupt, "put a sound copy back"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			authority, dir := create(t)
			_ = authority.Close()
			test.spoil(t, dir)
			opened, err := certs.Open(dir)
			if err == nil {
				_ = opened.Close()
			}
			wantFault(t, err, test.kind, test.says)
		})
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func overwrite(name, text string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
