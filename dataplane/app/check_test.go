package app

import (
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
		"sound":           {func(*dpsettings.DataPlane) {}, ""},
		"an address":      {func(s *dpsettings.DataPlane) { s.Cluster.ControlPlane = []string{"cp"} }, "is not host:port"},
		"another's key":   {func(s *dpsettings.DataPlane) { s.Cluster.Key = ca.Files(t, ca.Issue(t, mtlstest.Leaf{})).Key }, "does not match"},
		"never joined":    {func(s *dpsettings.DataPlane) { s.Cluster.Cert, s.Cluster.Key = "", "" }, "this node has no certificate: join"},
		"authorities":     {func(s *dpsettings.DataPlane) { s.Upstream.Trusted = []string{"/not/there"} }, "no such file"},
		"without address": {func(s *dpsettings.DataPlane) { s.Cluster = dpsettings.Cluster{} }, "name at least one node"},
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
