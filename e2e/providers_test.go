package e2e_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
	"github.com/keepgate/keepgate/e2e/kmsplugin"
)

const (
	localKey = "- aesgcm: {keys: [{name: key1, secret: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}]}"
	inClear  = "- identity: {}"
)

// providers is an EncryptionConfiguration for every table.
type providers struct {
	t    *testing.T
	path string
}

func newProviders(t *testing.T, entries ...string) providers {
	t.Helper()
	p := providers{t, filepath.Join(t.TempDir(), "encryption.yaml")}
	p.write(entries...)
	return p
}

// write replaces the file.
func (p providers) write(entries ...string) {
	p.t.Helper()
	text := "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: ['*.*']\n  providers:\n  " +
		strings.Join(entries, "\n  ") + "\n"
	if err := os.WriteFile(p.path, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// flag names the file.
func (p providers) flag() string { return "--encryption-provider-config=" + p.path }

// takes writes the file and has a running control plane take it.
func (p providers) takes(cp *harness.ControlPlane, entries ...string) {
	p.t.Helper()
	p.write(entries...)
	p.reload(cp, "encryption_provider_config was taken anew")
}

// refuses writes the file, and the control plane keeps the one before, saying all of why.
func (p providers) refuses(cp *harness.ControlPlane, why []string, entries ...string) {
	p.t.Helper()
	p.write(entries...)
	p.reload(cp, append(why, "encryption_provider_config was not taken")...)
}

func (p providers) reload(cp *harness.ControlPlane, said ...string) {
	p.t.Helper()
	length := len(cp.Log())
	if err := cp.Signal(syscall.SIGHUP); err != nil {
		p.t.Fatal(err)
	}
	cp.AwaitLogSince(length, said...)
}

func kmsEntry(name string, plugin *kmsplugin.Plugin) string {
	return fmt.Sprintf("- kms: {apiVersion: v2, name: %s, endpoint: '%s', timeout: 3s}", name, plugin.Endpoint())
}

// all: every one of so many values begins so, in the database itself.
func (d database) all(t *testing.T, cp *harness.ControlPlane, count int, prefix string) {
	t.Helper()
	values := d.column(t, cp, "select key from keyauth_credentials where key is not null")
	if len(values) != count {
		t.Errorf("%d values rest, want %d", len(values), count)
	}
	for _, value := range values {
		if !strings.HasPrefix(value, prefix) || (prefix == "" && strings.HasPrefix(value, "k8s:enc:")) {
			t.Fatalf("a value rests as %.40q, want %q", value, prefix)
		}
	}
}

// The way of the Kubernetes page: plaintext, a local key, a KMS plugin, and back to plaintext, each step with its
// proof, and no step that would lose a value.
func TestProvidersFromLocalKeyToKMSAndBack(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T) database{"sqlite": sqliteDatabase, "postgres": postgresDatabase} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := open(t)
			plugin := kmsplugin.Start(t, t.TempDir())
			c, file := harness.New(t), newProviders(t, localKey, inClear)
			clear := c.ControlPlane("cp", append(db.flags, "--keyring-enabled=off")...)
			clear.Start()
			var push strings.Builder
			push.WriteString("_format_version: '3.0'\nconsumers:\n- username: bob\n  keyauth_credentials:\n")
			for i := range rows {
				fmt.Fprintf(&push, "  - {key: canary-in-clear-%03d}\n", i)
			}
			clear.Admin().Push(push.String())
			db.all(t, clear, rows, "canary-")
			clear.Stop()

			cp := c.ControlPlane("cp", append(db.flags, "--keyring-enabled=off", file.flag())...)
			cp.Start()
			read := func() { answers(t, cp, "canary-in-clear-000", fmt.Sprintf("canary-in-clear-%03d", rows-1)) }
			read()
			db.all(t, cp, rows, "canary-") // reading rewrites nothing
			file.refuses(cp, []string{"identity", fmt.Sprint(rows)}, localKey)
			rewrite := func(prefix string) {
				t.Helper()
				reencrypt(t, cp, url.Values{})
				settled(t, cp)
				db.all(t, cp, rows, prefix)
				read()
			}
			rewrite("k8s:enc:aesgcm:v1:key1:")
			file.takes(cp, localKey)

			file.takes(cp, kmsEntry("vault-foo", plugin), localKey)
			file.refuses(cp, []string{"key1", fmt.Sprint(rows)}, kmsEntry("vault-foo", plugin))
			rewrite("k8s:enc:kms:v2:vault-foo:")
			file.takes(cp, kmsEntry("vault-foo", plugin))
			status, err := c.TryCP("encryption", "status", "--admin-url", "http://"+cp.Listen)
			if err != nil || !strings.Contains(status, "vault-foo") || !strings.Contains(status, "keyauth_credentials") {
				t.Errorf("encryption status: %v\n%s", err, status)
			}
			cp.Kill()
			plugin.Restart()
			cp.Start()
			harness.Eventually(t, "the keys after a restart", func() string {
				answer, err := cp.Admin().Try(http.MethodGet, "/consumers/bob/key-auth/canary-in-clear-000", nil)
				if err != nil || answer.Status != 200 {
					return fmt.Sprint(answer.Status, answer.Body, err)
				}
				return ""
			})
			read()

			file.refuses(cp, []string{"vault-foo", fmt.Sprint(rows)}, inClear)
			file.takes(cp, inClear, kmsEntry("vault-foo", plugin))
			rewrite("canary-")
			file.takes(cp, inClear)
			cp.Stop()
			clear.Start()
			answers(t, clear, "canary-in-clear-000")
			c.NoSecretInLogs("canary-in-clear-000", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
		})
	}
}

// A node does not begin to write what another that lives cannot read, and says which.
func TestNodesReadWhatOthersWrite(t *testing.T) {
	t.Parallel()
	const otherKey = "- aesgcm: {keys: [{name: key2, secret: ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=}]}"
	both := strings.Replace(localKey, "]}", ", "+otherKey[strings.Index(otherKey, "{name"):], 1)
	db, c := postgresDatabase(t), harness.New(t)
	files := []providers{newProviders(t, localKey), newProviders(t, otherKey)}
	var all []*harness.ControlPlane
	for i, file := range files {
		all = append(all, c.Node(fmt.Sprintf("cp-%d", i), append(slices.Clone(db.flags), "--keyring-enabled=off", file.flag())...))
	}
	all[0].Start()
	all[0].Admin().Do(201, http.MethodPost, "/consumers", harness.Document{"username": "bob"})
	made(t, write(t, all[0], "canary-under-key1"))
	mustNotStart(t, all[1], "key1", "1 rows of keyauth_credentials")
	other := strings.Replace(otherKey, "]}", ", "+localKey[strings.Index(localKey, "{name"):], 1)
	files[1].write(other)
	mustNotStart(t, all[1], "key2", "cp-0")

	files[0].takes(all[0], both)
	files[1].write(both)
	all[1].Start()
	files[1].takes(all[1], other) // key2 writes, and all[0] reads it
	made(t, write(t, all[1], "canary-under-key2"))
	db.mixed(t, all[0], "k8s:enc:aesgcm:v1:key1:", "k8s:enc:aesgcm:v1:key2:")
	for _, cp := range all {
		answers(t, cp, "canary-under-key1", "canary-under-key2")
	}
	files[0].refuses(all[0], []string{"key2"}, localKey) // rows rest under it
}

// mixed: the values begin so, in some order, one of each.
func (d database) mixed(t *testing.T, cp *harness.ControlPlane, prefixes ...string) {
	t.Helper()
	values := d.column(t, cp, "select key from keyauth_credentials where key is not null order by key")
	if len(values) != len(prefixes) {
		t.Fatalf("%d values rest, want %d", len(values), len(prefixes))
	}
	for i, value := range values {
		if !strings.HasPrefix(value, prefixes[i]) {
			t.Errorf("a value rests as %.40q, want %q", value, prefixes[i])
		}
	}
}

// Another key under the name of one that sealed rows is refused like one that is missing: by its name it would pass for it.
func TestAnotherKeyUnderTheSameName(t *testing.T) {
	t.Parallel()
	exchanged := strings.Replace(localKey, "MDEy", "OTg3", 1)
	for name, open := range map[string]func(*testing.T) database{"sqlite": sqliteDatabase, "postgres": postgresDatabase} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, c := open(t), harness.New(t)
			file := newProviders(t, localKey)
			cp := c.ControlPlane("cp", append(slices.Clone(db.flags), "--keyring-enabled=off", file.flag())...)
			cp.Start()
			cp.Admin().Do(201, http.MethodPost, "/consumers", harness.Document{"username": "bob"})
			made(t, write(t, cp, "canary-of-one-key"))
			file.refuses(cp, []string{"key1", "1 rows of keyauth_credentials", "another key"}, exchanged)
			file.refuses(cp, []string{"key1", "1 rows of keyauth_credentials", "another key"}, inClear, exchanged)
			answers(t, cp, "canary-of-one-key")
			cp.Stop()
			mustNotStart(t, cp, "key1", "1 rows of keyauth_credentials", "another key")
			file.write(localKey)
			cp.Start()
			answers(t, cp, "canary-of-one-key")
			if name != "postgres" {
				return
			}
			// Nor do two nodes mean two keys by one name, though nothing rests under it.
			const second = "- aesgcm: {keys: [{name: key2, secret: ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=}]}"
			file.takes(cp, localKey, second)
			other := newProviders(t, strings.Replace(second, "ZmVk", "MDEy", 1), localKey)
			node := c.Node("cp-1", append(slices.Clone(db.flags), "--keyring-enabled=off", other.flag())...)
			mustNotStart(t, node, "key2", "the name of another key there")
		})
	}
}

// A local key takes over from a plugin that died, while the process still has the seeds that open what rests under them.
func TestAKeyTakesOverFromAPluginThatDied(t *testing.T) {
	t.Parallel()
	db, c, plugin := sqliteDatabase(t), harness.New(t), kmsplugin.Start(t, t.TempDir())
	file := newProviders(t, kmsEntry("hsm", plugin))
	cp := c.ControlPlane("cp", append(slices.Clone(db.flags), "--keyring-enabled=off", file.flag())...)
	cp.Start()
	harness.Eventually(t, "a first seed", func() string {
		if answer, err := cp.Admin().Try(http.MethodPost, "/consumers", harness.Document{"username": "bob"}); err != nil || answer.Status != 201 && answer.Status != 409 {
			return fmt.Sprint(answer.Status, answer.Body, err)
		}
		answer, err := cp.Admin().Try(http.MethodPost, "/consumers/bob/key-auth", harness.Document{"key": "canary-by-plugin"})
		if err != nil || answer.Status != 201 {
			return fmt.Sprint(answer.Status, answer.Body, err)
		}
		return ""
	})
	plugin.Kill()
	harness.Eventually(t, "that it is missed", func() string {
		if answer, err := harness.Get("http://" + cp.Status + "/healthz/kms-providers"); err != nil || answer.Status != 500 {
			return fmt.Sprint(answer.Status, answer.Body, err)
		}
		return ""
	})
	file.refuses(cp, []string{"hsm", "not healthy"}, kmsEntry("hsm", plugin), localKey) // which would go on writing
	file.takes(cp, localKey, kmsEntry("hsm", plugin))
	made(t, write(t, cp, "canary-by-key"))
	db.mixed(t, cp, "k8s:enc:aesgcm:v1:key1:", "k8s:enc:kms:v2:hsm:")
	answers(t, cp, "canary-by-plugin", "canary-by-key")
}
