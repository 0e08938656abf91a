package app_test

import (
	"os"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/doctor/finding"
	"github.com/keepgate/keepgate/controlplane/kmsplugin/app"
	"github.com/keepgate/keepgate/controlplane/kmsplugin/wraptest"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/settings/kmssettings"
)

func sound(t *testing.T, pki *wraptest.PKI, role identity.Role) kmssettings.KMS {
	t.Helper()
	var s kmssettings.KMS
	if _, err := settings.Load(&s, settings.Sources{}); err != nil {
		t.Fatal(err)
	}
	files := pki.Issue(t, identity.Identity{Role: role, Name: "prod.master-1"})
	s.Cluster.Cert, s.Cluster.Key, s.Cluster.CACert = files.Cert, files.Key, files.CA
	return s
}

func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		role   identity.Role
		change func(*kmssettings.KMS)
		says   string // "": it is sound
	}{
		"nothing changed":      {identity.KMS, func(*kmssettings.KMS) {}, ""},
		"another role":         {identity.ControlPlane, func(*kmssettings.KMS) {}, "--role kms"},
		"no certificate":       {identity.KMS, func(s *kmssettings.KMS) { s.Cluster.Cert = "" }, "set cluster_cert"},
		"a certificate astray": {identity.KMS, func(s *kmssettings.KMS) { s.Cluster.Cert += ".none" }, "no such file"},
		"a shared certificate": {identity.KMS, func(s *kmssettings.KMS) { s.Cluster.MTLS = "shared" }, "names no KEK"},
		"no node":              {identity.KMS, func(s *kmssettings.KMS) { s.Cluster.ControlPlane = nil }, "at least one node"},
		"a node twice":         {identity.KMS, func(s *kmssettings.KMS) { s.Cluster.ControlPlane = []string{"a:1", "a:1"} }, "named twice"},
		"a node without port":  {identity.KMS, func(s *kmssettings.KMS) { s.Cluster.ControlPlane = []string{"a"} }, "not host:port"},
		"a socket of TCP":      {identity.KMS, func(s *kmssettings.KMS) { s.Plugin.Listen = "tcp://127.0.0.1:1" }, "kms_listen"},
		"a host for a path":    {identity.KMS, func(s *kmssettings.KMS) { s.Plugin.Listen = "unix://run/kms.sock" }, "unix:///run/kms.sock"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := sound(t, wraptest.NewPKI(t), test.role)
			test.change(&s)
			err := app.Check(s)
			if (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("Check = %v, want %q", err, test.says)
			}
		})
	}
}

// The settings that are shipped are read without a fault, and name the socket that the encryption configuration does.
func TestShippedSettings(t *testing.T) {
	t.Parallel()
	const folder = "../../../deploy/kubernetes/"
	var s kmssettings.KMS
	loaded, err := settings.Load(&s, settings.Sources{File: folder + "kms.conf"})
	if err != nil || len(loaded.Warnings) > 0 {
		t.Fatalf("%v, %v", err, loaded)
	}
	if len(s.Cluster.ControlPlane) != 2 || s.Cluster.CRL == "" {
		t.Errorf("they say %+v", s.Cluster)
	}
	for file, words := range map[string][]string{
		"encryption-configuration.yaml": {s.Plugin.Listen},
		"keepgate-kms.service":          {"--conf /etc/keepgate/kms.conf", "StateDirectory=" + strings.TrimPrefix(s.Process.Prefix, "/var/lib/"), "RuntimeDirectory=keepgate\n"},
		"keepgate-kms.yaml":             {"/etc/keepgate/kms.conf", s.Process.Prefix, "mountPath: /run/keepgate}", "port: 8101"},
	} {
		text, err := os.ReadFile(folder + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range words {
			if !strings.Contains(string(text), word) {
				t.Errorf("%s does not say %q", file, word)
			}
		}
	}
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	pki := wraptest.NewPKI(t)
	node := wraptest.Start(t, pki, wraptest.NewKEK(t, "prod"), "cp-1")
	other := wraptest.Start(t, pki, wraptest.NewKEK(t, "else"), "cp-2")
	gone := wraptest.Start(t, pki, wraptest.NewKEK(t, "prod"), "cp-3")
	gone.End()
	s := sound(t, pki, identity.KMS)
	s.Plugin.Listen = "unix://" + t.TempDir() + "/kms.sock"
	s.Cluster.ControlPlane = []string{node.Address, other.Address, gone.Address}
	var report strings.Builder
	for _, f := range app.Doctor(t.Context(), s) {
		report.WriteString(f.Area + "|" + f.Step + "|" + string(f.Verdict) + "|" + f.Fact + "|" + f.Mend + "\n")
	}
	for _, line := range []string{
		"certificate|in use|warning|certificate", // those of tests expire soon
		"this machine|socket|warning|nobody serves",
		"control plane " + node.Address + "|KEK|ok|prod.1.",
		"control plane " + node.Address + "|wraps|ok|a random secret",
		"control plane " + other.Address + "|answers|wrong|the control plane answers for another KEK",
		"name a node of this plugin's control plane",
		"control plane " + gone.Address + "|answers|wrong|no node of the control plane serves",
		"control plane " + gone.Address + "|wraps|" + string(finding.Skipped),
	} {
		if !strings.Contains(report.String(), line) {
			t.Errorf("no %q in\n%s", line, report.String())
		}
	}
	s.Cluster.Cert = ""
	findings := app.Doctor(t.Context(), s)
	if finding.Count(findings, finding.Wrong) == 0 {
		t.Errorf("without a certificate all is well: %v", findings)
	}
}
