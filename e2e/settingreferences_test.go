package e2e_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
	"github.com/keepgate/keepgate/e2e/pgtest"
	"github.com/keepgate/keepgate/shared/pkitest"
	"github.com/keepgate/keepgate/shared/vaultclient/vaulttest"
)

// guarded is a PostgreSQL server that asks for a password over TLS, and a database on it.
type guarded struct {
	*pgtest.Server
	database, authority string
}

// newGuarded starts one. Its role is gate.
func newGuarded(t *testing.T, password string) guarded {
	t.Helper()
	server, root := pgtest.Own(t, pgtest.Options{TCP: true}), pkitest.Root(t, "database authority")
	issued := root.Issue("database", func(c *x509.Certificate) {
		c.IPAddresses, c.ExtKeyUsage = []net.IP{net.IPv4(127, 0, 0, 1)}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	key, err := x509.MarshalPKCS8PrivateKey(issued.Key)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"server.crt": []byte(issued.PEM()), "server.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		pgtest.Included: []byte("ssl = on\nssl_cert_file = 'server.crt'\nssl_key_file = 'server.key'\n"),
		"pg_hba.conf":   []byte("local all keepgate trust\nhostssl all gate 127.0.0.1/32 scram-sha-256\n"),
	} {
		if err := server.Install(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := server.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	parsed, err := url.Parse(server.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	g := guarded{server, strings.TrimPrefix(parsed.Path, "/"), ""}
	g.authority = writeFile(t, filepath.Join(t.TempDir(), "database-ca.pem"), root.PEM())
	g.do(t, "CREATE ROLE gate LOGIN PASSWORD '"+password+"'")
	g.do(t, "ALTER DATABASE "+g.database+" OWNER TO gate")
	return g
}

func (g guarded) do(t *testing.T, statement string) {
	t.Helper()
	if err := g.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

// cut ends all connections of the role.
func (g guarded) cut(t *testing.T) {
	t.Helper()
	g.do(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'gate'")
}

// vaultSettings are those of a node that has a Vault, with a token in a file.
func vaultSettings(t *testing.T, v *vaulttest.Server, token string) []string {
	t.Helper()
	host, port, _ := strings.Cut(strings.TrimPrefix(v.URL, "https://"), ":")
	return []string{"--vault-hcv-host", host, "--vault-hcv-port", port, "--vault-hcv-kv", "v2", "--vault-hcv-token-file", secretFile(t, token)}
}

// commanded is a node of either plane.
type commanded interface {
	Command(args ...string) (output string, err error)
}

// said keeps what commands print, to look for secrets in.
type said string

// does runs a command that comes to its end well, and refuses one that does not. Each says all of the texts.
func (s *said) does(t *testing.T, node commanded, command string, says ...string) {
	t.Helper()
	s.run(t, node, command, true, says)
}

func (s *said) refuses(t *testing.T, node commanded, command string, says ...string) {
	t.Helper()
	s.run(t, node, command, false, says)
}

func (s *said) run(t *testing.T, node commanded, command string, well bool, says []string) {
	t.Helper()
	output, err := node.Command(strings.Fields(command)...)
	if err != nil {
		output += err.Error()
	}
	*s += said(output)
	missing := slices.DeleteFunc(slices.Clone(says), func(text string) bool { return strings.Contains(output, text) })
	if (err == nil) != well || len(missing) > 0 {
		t.Errorf("%s: went well %t, want %t; it does not say %q:\n%s", command, err == nil, well, missing, output)
	}
}

// without fails where one of the secrets was printed in any form.
func (s *said) without(t *testing.T, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		for form, trace := range harness.Traces(secret) {
			if strings.Contains(string(*s), string(trace)) {
				t.Errorf("a command prints a secret as %s", form)
			}
		}
	}
}

// A control plane takes its database's password and the token of its keyring from Vault, follows both while it runs, goes on with
// what it knows while Vault is dead, and is stopped, reloaded and asked then too.
func TestSettingsLeadToVault(t *testing.T) {
	t.Parallel()
	const key, first, second = "8zgITLQh", "canary-first-password-7d20aa", "canary-second-password-5b8c1e"
	const reference = "{vault://hcv/team/db/password}"
	c, db, v := harness.New(t), newGuarded(t, first), startVault(t, key)
	v.Policy("settings", `path "secret/data/team/db" { capabilities = ["read"] }`)
	own, keyring := v.Token(time.Hour, "settings"), v.Token(time.Hour, "reads")
	v.Put("team/db", map[string]string{"password": first, "keyring-token": keyring})
	lines, trust := "pg_password = "+reference+"\nkeyring_vault_token = {vault://hcv/team/db/keyring-token}\n", "ssl_trusted_certificate = "+db.authority+","+v.CAFile+"\n"
	conf := writeFile(t, filepath.Join(c.Folder, "cp.conf"), lines+trust)
	cp := c.ControlPlane("cp", append(vaultSettings(t, v, own), "--conf", conf,
		"--database", "postgres", "--pg-host", "127.0.0.1", "--pg-port", fmt.Sprint(db.Port()), "--pg-user", "gate", "--pg-database", db.database,
		"--keyring-strategy", "vault", "--keyring-vault-host", v.URL, "--keyring-vault-path", "team/keys", "--keyring-vault-ssl-trusted-certificate", v.CAFile,
	)...)
	var out said
	cp.Start()
	process := cp.Pid()
	holding(t, cp, "ready", key, key)
	made := 0
	works := func(when string) {
		t.Helper()
		made++
		harness.Eventually(t, "a write "+when, func() string {
			answer, err := cp.Admin().Try(http.MethodPost, "/consumers", harness.Document{"username": fmt.Sprint("consumer-", made)})
			if err != nil || answer.Status != 201 && answer.Status != 409 { // of one that broke nobody knew how it went
				time.Sleep(100 * time.Millisecond) // logs are read by people
				return fmt.Sprint(answer.Status, answer.Body, err)
			}
			return ""
		})
		if cp.Pid() != process {
			t.Fatalf("%s it is another process", when)
		}
	}
	databaseWarns := func(text string) {
		t.Helper()
		harness.Eventually(t, "the database's warnings", func() string {
			all := fmt.Sprint(cp.Admin().Do(200, http.MethodGet, "/status", nil)["database"].(map[string]any)["warnings"])
			out += said(all)
			if text == "" && all != "[]" || !strings.Contains(all, text) {
				time.Sleep(100 * time.Millisecond)
				return all
			}
			return ""
		})
	}
	works("at first")
	databaseWarns("")
	out.does(t, cp, "check", "pg_password = "+reference+"  # "+conf+":1", "keyring_vault_token = {vault://hcv/team/db/keyring-token}  # "+conf+":2")
	out.does(t, cp, "doctor")

	fresh := v.Token(time.Hour, "reads")
	db.do(t, "ALTER ROLE gate PASSWORD '"+second+"'")
	db.cut(t)
	harness.Eventually(t, "a status that tells of a database which refuses this node", func() string {
		database := cp.Admin().Do(200, http.MethodGet, "/status", nil)["database"].(map[string]any)
		if database["reachable"] != false {
			time.Sleep(100 * time.Millisecond)
			return fmt.Sprint(database)
		}
		return ""
	})
	v.Put("team/db", map[string]string{"password": second, "keyring-token": fresh})
	v.Revoke(keyring)
	db.cut(t)
	works("with another password")
	cp.Admin().Do(204, http.MethodPost, "/keyring/vault/sync", nil) // at the first login after the rotation

	v.Down()
	databaseWarns("going on with what was read before: pg_password: its vault hcv: connecting to")
	cp.AwaitLog("pg_password: its vault hcv: connecting to")
	db.cut(t)
	works("with Vault dead")
	out.does(t, cp, "health", "is running")
	writeFile(t, conf, lines) // what a reload reads is not in effect
	out.does(t, cp, "reload", "reloads")
	cp.AwaitLog("these settings changed and take effect at the next start", "ssl_trusted_certificate")
	dead := []string{"settings: 2 things to repair", conf + ":1: pg_password: its vault hcv: connecting to", conf + ":2: keyring_vault_token: its vault hcv: connecting to"}
	for _, command := range []string{"restart", "check", "run", "doctor"} {
		out.refuses(t, cp, command, dead...)
	}
	out.does(t, cp, "health", "is running")
	works("after a restart that was refused")
	v.Up()
	databaseWarns("")
	writeFile(t, conf, lines+trust)
	v.Down()
	out.does(t, cp, "stop", "keepgate-cp stopped")
	cp.AwaitEnd()

	out.refuses(t, cp, "start", dead...)
	v.Up()
	cp.Start()
	process = cp.Pid()
	works("after a start")

	all := []string{first, second, own, keyring, fresh, strong(key), v.Root}
	for _, secret := range all {
		if where := harness.FindSecret(t, cp.Prefix, secret); where != "" {
			t.Errorf("what a setting refers to is on the disk: %s", where)
		}
	}
	out.without(t, all...)
	c.NoSecretInLogs(all...)
}

// A data plane takes its scoped keys from a variable, a file and Vault, seals what it keeps by them, and opens it again with them
// alone: without one of them it does not start.
func TestScopedKeysLeadToVaults(t *testing.T) {
	t.Parallel()
	c, v := harness.New(t), vaulttest.Start(t)
	cp := c.ControlPlane("cp")
	cp.Start()
	configured := newClassed(t, cp, "default")
	keys := map[string]string{}
	for _, class := range []string{"contract", "kms", "kvm"} {
		keys[class] = base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "canary-of-scoped-key-%-11s", class))
	}
	folder := filepath.Join(c.Folder, "keys")
	writeFile(t, filepath.Join(folder, "edge", "kvm"), keys["kvm"]+"\n")
	v.Put("edge/keys", map[string]string{"kms": keys["kms"]})
	conf := writeFile(t, filepath.Join(c.Folder, "dp.conf"), "encryption_key_contract = {vault://env/edge-contract}\n"+
		"encryption_key_kvm = {vault://file/edge/kvm}\nencryption_key_kms = {vault://hcv/edge/keys/kms}\n")
	dp := c.DataPlane("edge", cp, append(vaultSettings(t, v, v.Root),
		"--conf", conf, "--vault-env-prefix", "GATE_", "--vault-file-folder", folder, "--ssl-trusted-certificate", v.CAFile)...)
	dp.Env = append(dp.Env, "GATE_EDGE_CONTRACT="+keys["contract"])
	var out said
	dp.Start()
	configured.serves(t, dp)
	configured.nowhere(t, dp, "under keys that references lead to")
	for class, of := range map[string]string{"contract": "routes", "kms": "keyauth_credentials", "kvm": "key_value_entries"} {
		out.does(t, dp, "keys explain "+of, "given by  encryption_key_"+class+"\n")
	}
	out.does(t, dp, "check", "encryption_key_contract = {vault://env/edge-contract}  # "+conf+":1", "encryption_key_kvm = {vault://file/edge/kvm}  # "+conf+":2")
	guarded := map[string]string{"by-variable": "{vault://env/edge-contract}", "by-file": "{vault://file/edge/kvm}", "by-vault": "{vault://hcv/edge/keys/kms}"}
	admin := cp.Admin()
	for route, text := range guarded {
		admin.Do(201, http.MethodPost, "/services/s/routes", harness.Document{"name": route, "paths": []string{"/" + route}})
		admin.Do(201, http.MethodPost, "/routes/"+route+"/plugins", harness.Document{
			"name": "request-transformer", "config": harness.Document{"add": harness.Document{"headers": []string{"x-got:" + text}}},
		})
	}
	for route := range guarded { // whoever configures the gate is not told its own keys
		dp.Await(503, "/"+route)
	}

	cp.Stop() // nothing comes anew: what is there is opened
	if err := os.Rename(filepath.Join(folder, "edge", "kvm"), filepath.Join(folder, "away")); err != nil {
		t.Fatal(err)
	}
	v.Down()
	configured.serves(t, dp)
	out.does(t, dp, "health", "is running")
	out.does(t, dp, "reload", "reloads")
	dead := []string{conf + ":2: encryption_key_kvm: what it refers to in vault file cannot be used: the secret has no such member", conf + ":3: encryption_key_kms: its vault hcv: connecting to"}
	out.refuses(t, dp, "restart", dead...)
	configured.serves(t, dp)
	out.does(t, dp, "stop", "keepgate-dp stopped")
	dp.AwaitEnd()
	out.refuses(t, dp, "start", dead...)
	v.Up()
	if err := os.Rename(filepath.Join(folder, "away"), filepath.Join(folder, "edge", "kvm")); err != nil {
		t.Fatal(err)
	}
	dp.Start()
	configured.serves(t, dp)
	configured.nowhere(t, dp, "after a start with them")

	all := []string{v.Root}
	for _, key := range keys {
		raw, err := base64.StdEncoding.DecodeString(key)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, key, string(raw))
	}
	for _, secret := range all {
		if where := harness.FindSecret(t, dp.Prefix, secret); where != "" {
			t.Errorf("what a setting refers to is on the disk: %s", where)
		}
	}
	out.without(t, all...)
	c.NoSecretInLogs(all...)
}
