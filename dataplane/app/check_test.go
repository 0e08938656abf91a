package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/settings/dpsettings"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "ca")
	node := ca.Files(t, ca.Issue(t, mtlstest.Leaf{}))
	for name, test := range map[string]struct {
		change func(*dpsettings.DataPlane)
		want   string
	}{
		"sound":         {func(*dpsettings.DataPlane) {}, ""},
		"an address":    {func(s *dpsettings.DataPlane) { s.Cluster.ControlPlane = []string{"cp"} }, "is not host:port"},
		"another's key": {func(s *dpsettings.DataPlane) { s.Cluster.Key = ca.Files(t, ca.Issue(t, mtlstest.Leaf{})).Key }, "does not match"},
		"never joined":  {func(s *dpsettings.DataPlane) { s.Cluster.Cert, s.Cluster.Key = "", "" }, "this node has no certificate: join"},
		"authorities":   {func(s *dpsettings.DataPlane) { s.Upstream.Trusted = []string{"/not/there"} }, "no such file"},
		"keys of others": {func(s *dpsettings.DataPlane) {
			s.Keys.File = keysFile(t, "org: other\nkmsEncryptionKey: cGFzc3dvcmRwYXNzd29yZA==\n")
		}, `the file is of organisation "other"`},
		"typed keys": {func(s *dpsettings.DataPlane) {
			s.Keys.File, s.Keys.Strict = keysFile(t, "kmsEncryptionKey: cGFzc3dvcmRwYXNzd29yZA==\n"), true
		}, "encryption_keys_strict refuses it"},
		"a URL as a host":          {func(s *dpsettings.DataPlane) { s.References.Host = "https://vault.example.com" }, "vault_hcv_host: it is no host alone"},
		"variables of the program": {func(s *dpsettings.DataPlane) { s.References.EnvPrefix = "KEEPGATE_" }, "vault_env_prefix: "},
		"without address":          {func(s *dpsettings.DataPlane) { s.Cluster = dpsettings.Cluster{} }, "name at least one node"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s dpsettings.DataPlane
			c := &s.Cluster
			c.Cert, c.Key, c.CACert, c.CRL, c.ControlPlane = node.Cert, node.Key, node.CA, node.CRL, []string{"cp:8005"}
			c.Enrolment = filepath.Join(t.TempDir(), "cluster")
			test.change(&s)
			if err := Check(s); (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("Check = %v, want %q", err, test.want)
			}
		})
	}
}

func keysFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
