package certscmd_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/cli/certscmd"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/trust"
)

func runHybrid(args ...string) (out string, err error) {
	var said bytes.Buffer
	cmd := certscmd.HybridCommand()
	cmd.SetArgs(args)
	cmd.SetOut(&said)
	cmd.SetErr(&said)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	err = cmd.Execute()
	return said.String(), err
}

func TestSharedPair(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cluster.crt"), filepath.Join(dir, "cluster.key")
	out, err := runHybrid("gen_cert", cert, key)
	if want := "Successfully generated certificate/key pairs, they have been written to: '" + cert + "' and '" + key + "'.\n"; err != nil || out != want {
		t.Fatalf("gen_cert says %q, %v; want %q", out, err, want)
	}
	for path, mode := range map[string]os.FileMode{cert: 0o644, key: 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	for _, role := range []identity.Role{identity.ControlPlane, identity.DataPlane} {
		source, err := mtls.OpenWith(mtls.Files{Cert: cert, Key: key}, mtls.Options{Mode: trust.Shared, Role: role})
		if err != nil {
			t.Fatal(err)
		}
		made := source.Certificate()
		if public, ok := made.PublicKey.(*ecdsa.PublicKey); !ok || public.Curve != elliptic.P384() {
			t.Errorf("the key is a %T", made.PublicKey)
		}
		if days := time.Until(made.NotAfter).Hours() / 24; made.Subject.CommonName != "kong_clustering" || days < 1094.9 || days > 1095 || made.IsCA {
			t.Errorf("it is %v, for %v days, an authority: %v", made.Subject, days, made.IsCA)
		}
		if err := made.CheckSignature(made.SignatureAlgorithm, made.RawTBSCertificate, made.Signature); err != nil {
			t.Errorf("it is not self-signed: %v", err)
		}
	}
	first, _ := os.ReadFile(cert)
	if _, err := runHybrid("gen_cert", cert, filepath.Join(dir, "new.key")); err == nil || err.Error() != cert+" already exists.\nWill not overwrite it." {
		t.Errorf("over a certificate: %v", err)
	}
	if _, err := runHybrid("gen_cert", filepath.Join(dir, "new.crt"), key); err == nil || err.Error() != key+" already exists.\nWill not overwrite it." {
		t.Errorf("over a key: %v", err)
	}
	if now, _ := os.ReadFile(cert); !bytes.Equal(first, now) {
		t.Error("the certificate was written over")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "new.*")); len(left) != 0 {
		t.Errorf("half a pair was left: %v", left)
	}
}

func TestSharedPairWhereOneIs(t *testing.T) {
	t.Chdir(t.TempDir())
	out, err := runHybrid("gen_cert", "-d", "7")
	if want := "Successfully generated certificate/key pairs, they have been written to: './cluster.crt' and './cluster.key'.\n"; err != nil || out != want {
		t.Fatalf("gen_cert says %q, %v", out, err)
	}
	data, err := os.ReadFile("cluster.crt")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	made, err := x509.ParseCertificate(block.Bytes)
	if err != nil || time.Until(made.NotAfter) > 7*24*time.Hour {
		t.Errorf("%v, until %v", err, made.NotAfter)
	}
	for _, args := range [][]string{{"gen_cert", "one"}, {"gen_cert", "a", "b", "c"}, {"gen_cert", "a", "b", "-d", "0"}, {"gen_cert", "no/such/folder.crt", "no/such/folder.key"}} {
		if out, err := runHybrid(args...); err == nil {
			t.Errorf("%v: %s", args, out)
		}
	}
}
