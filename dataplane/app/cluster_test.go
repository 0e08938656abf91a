package app

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/dataplane/apply"
	"github.com/keepgate/keepgate/dataplane/enrol"
	"github.com/keepgate/keepgate/dataplane/localstore"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/settings/dpsettings"
)

func TestWhatCouldNeverLinkIsRefusedBeforeTheStoreIsTouched(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "ca")
	const hint = "keepgate-dp certs request"
	tests := map[string]struct {
		role         identity.Role
		change       func(c *dpsettings.Cluster)
		want, wantNo string
	}{
		"of a control plane": {role: identity.ControlPlane, want: "it is a certificate of role control-plane; issue one of role data-plane", wantNo: hint},
		"of an admin":        {role: identity.Admin, want: "it is a certificate of role admin; issue one of role data-plane"},
		"none":               {change: func(c *dpsettings.Cluster) { c.Cert, c.Key = "", "" }, want: "set cluster_cert, cluster_cert_key and cluster_ca_cert (make a key and a request here with: " + hint},
		"no CA":              {change: func(c *dpsettings.Cluster) { c.CACert = "" }, want: "set cluster_cert, cluster_cert_key and cluster_ca_cert"},
		"key is not there":   {change: func(c *dpsettings.Cluster) { c.Key += ".not" }, want: hint},
		"CA is not there":    {change: func(c *dpsettings.Cluster) { c.CACert += ".not" }, want: "no such file", wantNo: hint},
		"CA is a CRL":        {change: func(c *dpsettings.Cluster) { c.CACert = c.CRL }, want: "it holds a CRL where certificates are wanted", wantNo: hint},
		"no address":         {change: func(c *dpsettings.Cluster) { c.ControlPlane = nil }, want: "cluster_control_plane: name at least one node"},
		"address twice":      {change: func(c *dpsettings.Cluster) { c.ControlPlane = []string{"a:1", "b:1", "a:1"} }, want: "a:1 is named twice"},
		"address":            {change: func(c *dpsettings.Cluster) { c.ControlPlane = []string{"cp"} }, want: `cluster_control_plane: "cp" is not host:port, as cp.example:8005`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			who := identity.Identity{Role: identity.DataPlane, Organisation: "acme", Environment: "prod", Name: "one"}
			if test.role != "" {
				who.Role, who.Environment = test.role, ""
			}
			_, files, _ := ca.Source(t, mtlstest.Leaf{Identity: who})
			prefix := t.TempDir()
			p := &plane{log: slog.New(slog.DiscardHandler), disk: enrol.Disk{}}
			p.settings.Process.Prefix = prefix
			p.settings.Store = dpsettings.Store{Folder: filepath.Join(prefix, "store"), Encryption: "on"}
			c := &p.settings.Cluster
			c.Cert, c.Key, c.CACert, c.CRL, c.ControlPlane = files.Cert, files.Key, files.CA, files.CRL, []string{"cp.example:8005", "cp2.example:8005"}
			if test.change != nil {
				test.change(c)
			}
			err := p.open()
			if err == nil || !strings.Contains(err.Error(), test.want) || test.wantNo != "" && strings.Contains(err.Error(), test.wantNo) {
				t.Errorf("open = %v\nwant %q, without %q", err, test.want, test.wantNo)
			}
			if left, err := os.ReadDir(prefix); err != nil || len(left) != 0 {
				t.Errorf("the prefix holds %v, %v", left, err)
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for address, good := range map[string]bool{
		"cp:8005": true, "127.0.0.1:8005": true, "[::1]:8005": true, "cp.example:65535": true,
		"": false, "cp": false, ":8005": false, "cp:": false, "cp:0": false, "cp:99999": false, "cp:-1": false, "cp:https": false,
		"https://cp:8005": false, "https://cp": false, "::1:8005": false, "a b:8005": false, "cp/x:8005": false,
	} {
		if err := checkAddress(address); (err == nil) != good {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestASealedStoreSaysWhatToDo(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "ca")
	first, firstFiles, _ := ca.Source(t, mtlstest.Leaf{})
	renewed, _, _ := ca.Source(t, mtlstest.Leaf{})
	s := dpsettings.DataPlane{Store: dpsettings.Store{Folder: filepath.Join(t.TempDir(), "store"), Encryption: "on"}}
	steps := []struct {
		source   *mtls.Source
		previous string
		want     localstore.Status
	}{
		{first, "", localstore.Fresh},
		{renewed, "", localstore.Unopenable},
		{first, "", localstore.Whole}, // the key is put back
		{renewed, firstFiles.Key, localstore.Whole},
		{renewed, "", localstore.Whole},
	}
	for i, step := range steps {
		var log bytes.Buffer
		s.Cluster.PreviousKey = step.previous
		var held apply.Opened
		keys, err := openKeys(s, step.source, nil, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		store, _, err := openStore(s, step.source, keys, localstore.Options{Verify: held.Verify, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		report := store.Report()
		adviseOnKeys(report, slog.New(slog.NewTextHandler(&log, nil)))
		if report.Status != step.want {
			t.Errorf("step %d: %v, want %v", i, report.Status, step.want)
		}
		if advised := strings.Contains(log.String(), "cluster_cert_key_previous"); advised != (step.want == localstore.Unopenable) {
			t.Errorf("step %d says\n%s", i, log.String())
		}
		if i == 0 {
			if err := store.Replace(localstore.State{Epoch: 1, Version: 1}); err != nil {
				t.Fatal(err)
			}
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
