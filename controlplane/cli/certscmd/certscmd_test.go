package certscmd_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/cli/certscmd"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/privatekey"
)

// run executes one command as a shell would.
func run(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, notes bytes.Buffer
	cmd := certscmd.Command()
	cmd.SetArgs(args)
	cmd.SetIn(strings.NewReader(""))
	cmd.SetOut(&out)
	cmd.SetErr(&notes)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	err = cmd.Execute()
	return out.String(), notes.String(), err
}

func mustRun(t *testing.T, args ...string) (stdout, stderr string) {
	t.Helper()
	stdout, stderr, err := run(t, args...)
	if err != nil {
		t.Fatalf("certs %s: %v", strings.Join(args, " "), err)
	}
	return stdout, stderr
}

func newCA(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "certs")
	mustRun(t, "init", "--dir", dir, "--with-control-plane")
	return dir
}

func newRequest(t *testing.T, dir string) (requestPath, keyPath string) {
	t.Helper()
	key, encoded, err := privatekey.New()
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "wish"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	requestPath, keyPath = filepath.Join(dir, "node.csr"), filepath.Join(dir, "node.key")
	save(t, requestPath, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
	encoded.Reveal(func(data []byte) { save(t, keyPath, data) })
	return requestPath, keyPath
}

func save(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func contains(t *testing.T, where, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%s does not say %q:\n%s", where, want, text)
		}
	}
}

func TestInit(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "certs")
	out, notes := mustRun(t, "init", "--dir", dir)
	contains(t, "output", out, filepath.Join(dir, "ca.crt"), filepath.Join(dir, "crl.pem"), "default")
	contains(t, "notes", notes, "ca.key can admit nodes")
	if _, err := os.Stat(filepath.Join(dir, "control-plane.key")); err == nil {
		t.Error("init made a control plane's key unasked")
	}
	if _, _, err := run(t, "init", "--dir", dir); err == nil || !strings.Contains(err.Error(), "there already") {
		t.Errorf("a second init = %v", err)
	}
	dir = filepath.Join(t.TempDir(), "certs")
	out, notes = mustRun(t, "init", "--dir", dir, "--organisation", "acme", "--with-control-plane")
	contains(t, "output", out, "keepgate://control-plane/acme/-/control-plane")
	contains(t, "notes", notes, "localhost, 127.0.0.1 and ::1 only")
	if strings.Contains(notes, "demos") {
		t.Errorf("the control plane's own key is called a demo's: %s", notes)
	}
	source, err := mtls.Open(mtls.Files{
		Cert: filepath.Join(dir, "control-plane.crt"), Key: filepath.Join(dir, "control-plane.key"),
		CA: filepath.Join(dir, "ca.crt"), CRL: filepath.Join(dir, "crl.pem"),
	})
	if err != nil || len(source.Status().Notices) != 0 {
		t.Errorf("what init made does not load cleanly: %v, %q", err, source.Status().Notices)
	}
	dir = filepath.Join(t.TempDir(), "certs")
	_, notes = mustRun(t, "init", "--dir", dir, "--with-control-plane", "--dns", "cp.example,cp2.example", "--ip", "10.0.0.1")
	if strings.Contains(notes, "localhost") {
		t.Errorf("names were given: %s", notes)
	}
	out, _ = mustRun(t, "show", filepath.Join(dir, "control-plane.crt"))
	contains(t, "show", out, "cp.example, cp2.example, 10.0.0.1")
}

func TestIssueSaysWhatAKeyMadeHereMeans(t *testing.T) {
	t.Parallel()
	dir, out := newCA(t), filepath.Join(t.TempDir(), "node")
	stdout, notes := mustRun(t, "issue", "edge-1", "--dir", dir, "--environment", "prod", "--out", out)
	contains(t, "output", stdout, "keepgate://data-plane/default/prod/edge-1", filepath.Join(out, "edge-1.key"))
	contains(t, "notes", notes, "for demos only", "keepgate-dp certs request")
	info, err := os.Stat(filepath.Join(out, "edge-1.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key: %v, %v", info, err)
	}
	stdout, _ = mustRun(t, "show", "--dir", dir)
	contains(t, "show", stdout, "edge-1", "prod", "key made here", "control-plane", "number 3, 0 revoked")
}

func TestSign(t *testing.T) {
	t.Parallel()
	dir := newCA(t)
	request, key := newRequest(t, t.TempDir())
	shown, _ := mustRun(t, "show", request)
	contains(t, "show", shown, `subject "CN=wish", ignored`)
	out, notes := mustRun(t, "sign", request, "--dir", dir, "--name", "edge-1")
	contains(t, "output", out, "keepgate://data-plane/default/default/edge-1", filepath.Join(dir, "edge-1.crt"), "key SHA-256")
	if strings.Contains(out+notes, "wish") || strings.Contains(notes, "demos") {
		t.Errorf("output %s, notes %s", out, notes)
	}
	_, digest, _ := strings.Cut(shown, "key SHA-256   ")
	contains(t, "output", out, strings.TrimSpace(digest))
	source, err := mtls.Open(mtls.Files{Cert: filepath.Join(dir, "edge-1.crt"), Key: key, CA: filepath.Join(dir, "ca.crt"), CRL: filepath.Join(dir, "crl.pem")})
	if err != nil || source.Identity().Name != "edge-1" {
		t.Errorf("what was signed does not load: %v", err)
	}
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	dir := newCA(t)
	for _, name := range []string{"edge-1", "edge-2"} {
		mustRun(t, "issue", name, "--dir", dir)
	}
	out, notes := mustRun(t, "revoke", "edge-1", "--dir", dir)
	contains(t, "output", out, "revoked       data-plane edge-1", "number 5")
	contains(t, "notes", notes, "on their disk")
	out, _ = mustRun(t, "revoke", "edge-1", "--dir", dir)
	contains(t, "output", out, "nothing new", "number 6")
	out, _ = mustRun(t, "revoke", "--cert", filepath.Join(dir, "edge-2.crt"), "--dir", dir)
	contains(t, "output", out, "revoked       data-plane edge-2")
	out, _ = mustRun(t, "show", "--dir", dir)
	contains(t, "show", out, "number 7, 2 revoked")
	if n := strings.Count(out, "revoked 2"); n != 2 {
		t.Errorf("show calls %d certificates revoked, want 2:\n%s", n, out)
	}
	out, _ = mustRun(t, "show", filepath.Join(dir, "crl.pem"))
	contains(t, "show", out, "number 7, 2 revoked")
}

func TestBadInputChangesNothing(t *testing.T) {
	t.Parallel()
	dir := newCA(t)
	request, key := newRequest(t, t.TempDir())
	text := filepath.Join(t.TempDir(), "text")
	save(t, text, []byte("hello"))
	tests := map[string]struct {
		args []string
		says string
	}{
		"no such command":             {[]string{"burn"}, "unknown command"},
		"init with an argument":       {[]string{"init", "here"}, "unknown command"},
		"init for no days":            {[]string{"init", "--days", "0"}, "1 to 36500"},
		"init with names for nobody":  {[]string{"init", "--dns", "cp.example"}, "belong to --with-control-plane"},
		"issue without a name":        {[]string{"issue"}, "accepts 1 arg"},
		"issue with a path as a name": {[]string{"issue", "../edge"}, "only letters"},
		"issue over the CA":           {[]string{"issue", "ca"}, "there already"},
		"issue to an unknown role":    {[]string{"issue", "a", "--role", "root"}, `role "root"`},
		"issue for too long":          {[]string{"issue", "a", "--days", "36501"}, "1 to 36500"},
		"issue with a broken address": {[]string{"issue", "a", "--role", "control-plane", "--ip", "10.0.0"}, "10.0.0"},
		"sign without a name":         {[]string{"sign", request}, "--name is needed"},
		"sign a missing file":         {[]string{"sign", request + ".not", "--name", "a"}, "no such file"},
		"sign nothing on stdin":       {[]string{"sign", "-", "--name", "a"}, "nothing in PEM form"},
		"sign text":                   {[]string{"sign", text, "--name", "a"}, "nothing in PEM form"},
		"sign a private key":          {[]string{"sign", key, "--name", "a"}, "not a certificate request"},
		"sign onto a file":            {[]string{"sign", request, "--name", "a", "--out", text}, "there already"},
		"revoke nothing":              {[]string{"revoke"}, "either a name"},
		"revoke two things":           {[]string{"revoke", "a", "--serial", "01"}, "either a name"},
		"revoke a role's serial":      {[]string{"revoke", "--serial", "01", "--role", "admin"}, "need no narrowing"},
		"revoke a stranger":           {[]string{"revoke", "edge-9"}, "nothing to that name"},
		"revoke text":                 {[]string{"revoke", "--cert", text}, "nothing in PEM form"},
		"show a private key":          {[]string{"show", key}, "nothing is shown"},
		"show text":                   {[]string{"show", text}, "nothing in PEM form"},
	}
	before := listing(t, dir)
	for name, test := range tests {
		_, _, err := run(t, append(test.args, "--dir", dir)...)
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want an error saying %q", name, err, test.says)
		}
	}
	if after := listing(t, dir); before != after {
		t.Errorf("the folder was %s, is %s", before, after)
	}
	if _, _, err := run(t, "issue", "a", "--dir", t.TempDir()); err == nil || !strings.Contains(err.Error(), "certs init") {
		t.Errorf("issue without a CA = %v", err)
	}
}

// listing is every file's name and bytes.
func listing(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		text.WriteString(entry.Name() + "\n" + string(data))
	}
	return text.String()
}
