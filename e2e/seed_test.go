package e2e_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
)

// curl runs a line of Kong's documentation as a shell would, with the port replaced by that of this Admin API.
func curl(t *testing.T, cp *harness.ControlPlane, line string) harness.Document {
	t.Helper()
	line = strings.ReplaceAll(strings.TrimSuffix(line, " | jq"), "localhost:8001", cp.Listen)
	output, err := exec.CommandContext(t.Context(), "sh", "-c", line).Output()
	if err != nil {
		t.Fatalf("%s: %v (is curl missing? install it with: make deps)", line, err)
	}
	if len(output) == 0 {
		return nil
	}
	var document harness.Document
	if err := json.Unmarshal(output, &document); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, output)
	}
	return document
}

// The lines for consumers, basic-auth and the keyring work as Kong prints them; only the hash has another form, and
// the stored value is authenticated.
func TestKongsOwnLines(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	db := sqliteDatabase(t)
	cp := c.ControlPlane("cp")
	cp.Start()

	ring := curl(t, cp, "curl -s localhost:8001/keyring | jq")
	first, _ := ring["active"].(string)
	if len(first) != 8 || len(ring["ids"].([]any)) != 1 {
		t.Fatalf("the keyring is %v", ring)
	}
	bob := curl(t, cp, "curl -s localhost:8001/consumers -d username=bob | jq")
	if bob["username"] != "bob" || bob["custom_id"] != nil || bob["tags"] != nil || bob["id"] == nil || bob["created_at"] == nil {
		t.Errorf("the consumer is %v", bob)
	}
	made := curl(t, cp, "curl -s localhost:8001/consumers/bob/basic-auth -d username=bob -d password=supersecretpassword | jq")
	hash, _ := made["password"].(string)
	consumer, _ := made["consumer"].(harness.Document)
	id, _ := made["id"].(string)
	if made["username"] != "bob" || consumer["id"] != bob["id"] || !strings.HasPrefix(hash, "$argon2id$") || id == "" {
		t.Errorf("the credential is %v", made)
	}
	if again := curl(t, cp, "curl -s localhost:8001/consumers/bob/basic-auth/"+id+" | jq"); again["password"] != hash {
		t.Errorf("read again it is %v", again)
	}
	stored := func() string {
		return db.column(t, cp, "select password from basicauth_credentials where id = '"+id+"'")[0]
	}
	if row := stored(); !strings.HasPrefix(row, "$ke$1$-"+first+"-") {
		t.Errorf("the row holds %.20q", row)
	}

	second := curl(t, cp, "curl -XPOST -s localhost:8001/keyring/generate")
	newer, _ := second["id"].(string)
	if len(newer) != 8 || newer == first || second["key"] == nil {
		t.Fatalf("generated %v", second["id"])
	}
	curl(t, cp, "curl -s localhost:8001/keyring/activate -d key="+newer)
	if ring := curl(t, cp, "curl -s localhost:8001/keyring | jq"); ring["active"] != newer {
		t.Errorf("active is %v", ring["active"])
	}
	changed := curl(t, cp, "curl -XPATCH -s localhost:8001/consumers/bob/basic-auth/"+id+" -d password=adifferentsecretpassword | jq")
	if now, _ := changed["password"].(string); now == hash || !strings.HasPrefix(now, "$argon2id$") {
		t.Errorf("the changed credential is %v", changed)
	}
	if row := stored(); !strings.HasPrefix(row, "$ke$1$-"+newer+"-") {
		t.Errorf("the row written under the new key holds %.20q", row)
	}
	if show := cp.Show("basicauth_credentials", id); !strings.Contains(show, "$ke$1$-"+newer+"-") || strings.Contains(show, "argon2") {
		t.Errorf("store show prints\n%s", show)
	}
	c.NoSecretInLogs("supersecretpassword", "adifferentsecretpassword", second["key"].(string))
}

// A file part of a form, as the lines for CA certificates and recovery have it.
func TestKongsFormUpload(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	cp := c.ControlPlane("cp")
	cp.Start()
	text, err := os.ReadFile(c.Cert("ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	made := curl(t, cp, "curl -s http://localhost:8001/ca_certificates -F cert=@"+file)
	digest, _ := made["cert_digest"].(string)
	if cert, _ := made["cert"].(string); strings.TrimSpace(cert) != strings.TrimSpace(string(text)) || len(digest) != 64 || made["tags"] != nil {
		t.Errorf("the CA certificate is %v", made)
	}
}
