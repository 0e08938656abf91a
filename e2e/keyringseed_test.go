package e2e_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
)

// words are the members of a list of texts.
func words(list any) (texts []string) {
	entries, _ := list.([]any)
	for _, entry := range entries {
		text, _ := entry.(string)
		texts = append(texts, text)
	}
	return texts
}

// Kong's page on the keyring, line by line and in its order: https://docs.konghq.com/gateway/3.8.x/kong-enterprise/db-encryption
func TestKongKeyringPage(t *testing.T) {
	t.Parallel()
	c, db := harness.New(t), postgresDatabase(t)
	private, public := recoveryPair(t)
	if err := os.Chmod(private, 0o400); err != nil {
		t.Fatal(err)
	}
	cp := c.ControlPlane("cp", db.flags...)
	cp.Env = []string{
		"KONG_KEYRING_ENABLED=on", "KONG_KEYRING_STRATEGY=cluster", "KONG_KEYRING_RECOVERY_PUBLIC_KEY=" + public,
		"KONG_KEYRING_PUBLIC_KEY=" + public, "KONG_KEYRING_PRIVATE_KEY=" + private,
	}
	cp.Start()
	page := &keyringPage{t: t, cp: cp, db: db, private: private}
	page.encryption()
	page.rotation()
	exported := page.export()
	page.missing()
	page.recovery()
	page.imported(exported)
	c.NoSecretInLogs("supersecretpassword", "adifferentsecretpassword", page.key)
	cp.AwaitLog("deprecated")
}

type keyringPage struct {
	t             *testing.T
	cp            *harness.ControlPlane
	db            database
	private       string
	first, second string // ids of keys
	key           string // the second one, as it was shown
	credential    string // its id
	hash          string // of its password
}

func (p *keyringPage) curl(line string) harness.Document {
	p.t.Helper()
	return curl(p.t, p.cp, line)
}

func (p *keyringPage) stored(prefix string) {
	p.t.Helper()
	row := p.db.column(p.t, p.cp, "select password from basicauth_credentials where id = '"+p.credential+"'")[0]
	if !strings.HasPrefix(row, prefix) {
		p.t.Errorf("the row holds %.20q, want %s", row, prefix)
	}
}

// reads: the credential comes back in clear.
func (p *keyringPage) reads() {
	p.t.Helper()
	read := p.curl("curl -s localhost:8001/consumers/bob/basic-auth/" + p.credential + " | jq")
	if read["password"] != p.hash || read["username"] != "bob" {
		p.t.Errorf("the credential reads %v", read)
	}
}

func (p *keyringPage) encryption() {
	ring := p.curl("curl -s localhost:8001/keyring | jq")
	p.first, _ = ring["active"].(string)
	if ids := words(ring["ids"]); len(p.first) != 8 || !slices.Equal(ids, []string{p.first}) {
		p.t.Fatalf("the keyring is %v", ring)
	}
	bob := p.curl("curl -s localhost:8001/consumers -d username=bob | jq")
	made := p.curl("curl -s localhost:8001/consumers/bob/basic-auth -d username=bob -d password=supersecretpassword | jq")
	p.credential, _ = made["id"].(string)
	p.hash, _ = made["password"].(string)
	if bob["username"] != "bob" || p.credential == "" || !strings.HasPrefix(p.hash, "$argon2id$") {
		p.t.Fatalf("made %v and %v", bob, made)
	}
	p.stored("$ke$1$-" + p.first + "-")
	p.reads()
}

func (p *keyringPage) rotation() {
	made := p.curl("curl -XPOST -s localhost:8001/keyring/generate")
	p.second, _ = made["id"].(string)
	p.key, _ = made["key"].(string)
	if len(p.second) != 8 || p.second == p.first || len(p.key) != 44 || len(made) != 2 {
		p.t.Fatalf("generated the members %d, id %q", len(made), p.second)
	}
	p.curl("curl -s localhost:8001/keyring/activate -d key=" + p.second)
	p.stored("$ke$1$-" + p.first + "-")
	p.reads()
	changed := p.curl("curl -XPATCH -s localhost:8001/consumers/bob/basic-auth/" + p.credential + " -d password=adifferentsecretpassword | jq")
	if hash, _ := changed["password"].(string); hash == p.hash {
		p.t.Errorf("the changed credential is %v", changed)
	} else {
		p.hash = hash
	}
	p.stored("$ke$1$-" + p.second + "-")
	if active := p.curl("curl -s localhost:8001/keyring/active"); active["id"] != p.second {
		p.t.Errorf("active is %v", active)
	}
}

func (p *keyringPage) export() (data string) {
	answer := p.curl("curl -XPOST -s localhost:8001/keyring/export | jq")
	data, _ = answer["data"].(string)
	if len(data) < 300 || len(answer) != 1 {
		p.t.Fatalf("exported the members %d, %d characters", len(answer), len(data))
	}
	return data
}

func (p *keyringPage) missing() {
	p.cp.Stop()
	p.cp.Start()
	began := time.Now()
	answer := p.curl("curl -s localhost:8001/consumers/bob/basic-auth/" + p.credential)
	p.t.Logf("without its key the credential answers within %v, curl included", time.Since(began))
	if message, _ := answer["message"].(string); !strings.Contains(message, p.second) {
		p.t.Errorf("without its key the credential answers %v", answer)
	}
}

func (p *keyringPage) recovery() {
	recovered := p.curl("curl -s -X POST localhost:8001/keyring/recover -F recovery_private_key=@" + p.private)
	if ids := words(recovered["recovered"]); recovered["message"] != "successfully recovered 2 keys" || len(ids) != 2 || len(words(recovered["not_recovered"])) != 0 {
		p.t.Errorf("recovered %v", recovered)
	}
	if ring := p.curl("curl -s localhost:8001/keyring | jq"); ring["active"] != p.second {
		p.t.Errorf("after the recovery the keyring is %v", ring)
	}
	p.reads()
}

func (p *keyringPage) imported(data string) {
	p.cp.Stop()
	p.cp.Start()
	p.curl("curl -s localhost:8001/keyring/import -d data=" + data)
	if ring := p.curl("curl -s localhost:8001/keyring | jq"); ring["active"] != p.second || len(words(ring["ids"])) != 2 {
		p.t.Errorf("after the import the keyring is %v", ring)
	}
	p.reads()
	p.curl("curl -s localhost:8001/consumers/bob/basic-auth -d username=carl -d password=supersecretpassword | jq")
}
