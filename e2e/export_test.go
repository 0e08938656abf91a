package e2e_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/keyring/blob"
	"github.com/keepgate/keepgate/controlplane/keyring/cluster"
	"github.com/keepgate/keepgate/e2e/harness"
)

// blobFile is keyring_blob_path, and the private key's file that opens it.
type blobFile struct {
	t             *testing.T
	path, private string
}

// await waits until the file holds these keys alone, and names the active one.
func (b blobFile) await(active string, ids ...string) {
	b.t.Helper()
	pem, err := os.ReadFile(b.private)
	if err != nil {
		b.t.Fatal(err)
	}
	private, err := cluster.ParsePrivate(pem)
	if err != nil {
		b.t.Fatal(err)
	}
	slices.Sort(ids)
	harness.Eventually(b.t, "the file holding "+strings.Join(ids, " "), func() string {
		text, err := os.ReadFile(b.path)
		if err != nil {
			return err.Error()
		}
		held, named, err := blob.Open(private, string(text))
		if err != nil {
			return err.Error()
		}
		var found []string
		for id := range held {
			found = append(found, id)
		}
		if slices.Sort(found); !slices.Equal(found, ids) || named != active {
			return "it holds " + strings.Join(found, " ") + ", active " + named
		}
		return ""
	})
}

func (b blobFile) read() string {
	b.t.Helper()
	text, err := os.ReadFile(b.path)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

func (b blobFile) write(text string) {
	b.t.Helper()
	if err := os.WriteFile(b.path, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// hides: who has the file alone has no key.
func (b blobFile) hides(materials ...string) {
	b.t.Helper()
	if info, err := os.Stat(b.path); err != nil || info.Mode().Perm() != 0o600 {
		b.t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
	outer, err := base64.StdEncoding.DecodeString(b.read())
	if err != nil {
		b.t.Fatal(err)
	}
	inside := filepath.Join(b.t.TempDir(), "decoded")
	if err := os.WriteFile(inside, outer, 0o600); err != nil {
		b.t.Fatal(err)
	}
	nowhere(b.t, filepath.Dir(inside), materials...)
	nowhere(b.t, filepath.Dir(b.path), materials...)
}

// With keyring_blob_path a node finds its keys again by itself, and nothing but what it had.
func TestKeyringBlob(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T) database{"sqlite": sqliteDatabase, "postgres": postgresDatabase} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keyringBlob(t, open(t))
		})
	}
}

func keyringBlob(t *testing.T, db database) {
	c := harness.New(t)
	private, public := recoveryPair(t)
	file := blobFile{t, filepath.Join(t.TempDir(), "keyring.blob"), private}
	cp := c.ControlPlane("cp", append(db.flags, "--keyring-strategy", "cluster", "--keyring-public-key", public, "--keyring-blob-path", file.path)...)
	withPrivate := []string{"KEEPGATE_KEYRING_PRIVATE_KEY=" + private}
	cp.Env = withPrivate
	cp.Start()
	admin := cp.Admin()
	_, first, _ := ring(t, cp)
	file.await(first, first)
	oldest := file.read()
	admin.Do(201, http.MethodPost, "/consumers", harness.Document{"username": "bob"})
	admin.Do(201, http.MethodPost, "/consumers/bob/key-auth", harness.Document{"key": keyCanary})
	var materials []string
	generate := func() (id string) {
		made := admin.Do(201, http.MethodPost, "/keyring/generate", nil)
		material, err := base64.StdEncoding.DecodeString(made["key"].(string))
		if err != nil {
			t.Fatal(err)
		}
		materials = append(materials, string(material))
		id, _ = made["id"].(string)
		return id
	}
	second := generate()
	file.await(first, first, second)
	admin.Form(204, http.MethodPost, "/keyring/activate", url.Values{"key": {second}})
	file.await(second, first, second)
	admin.Do(201, http.MethodPost, "/consumers/bob/key-auth", harness.Document{"key": "canary-under-the-second-key"})
	third := generate()
	file.await(second, first, second, third)
	full := file.read()
	admin.Form(204, http.MethodPost, "/keyring/remove", url.Values{"key": {third}})
	file.await(second, first, second)
	file.hides(materials...)

	restart := func(text, state, active string, ids ...string) {
		t.Helper()
		cp.Kill()
		if text != "" {
			file.write(text)
		}
		cp.Start()
		held, at, is := ring(t, cp)
		if slices.Sort(ids); !slices.Equal(slices.Sorted(slices.Values(held)), ids) || at != active || is != state {
			t.Errorf("after a start it holds %v, active %q, is %s; want %v, %q, %s", held, at, is, ids, active, state)
		}
	}
	restart("", "ready", second, first, second)
	answers(t, cp, keyCanary, "canary-under-the-second-key")
	restart(full, "ready", second, first, second) // what was removed since stays so
	file.await(second, first, second)
	now := file.read()
	restart(oldest, "missing", "", first) // and what was active then is not again
	answers(t, cp, keyCanary)
	if file.read() != oldest {
		t.Error("a file that may be the last of its kind was written over")
	}
	restart(now, "ready", second, first, second)

	cp.Kill()
	cp.Env = nil
	before := len(cp.Log())
	cp.Start()
	cp.AwaitLogSince(before, "the keys of keyring_blob_path were not loaded", "keyring_private_key")
	admin.Do(201, http.MethodPost, "/consumers", harness.Document{"username": "eve"})
	if answer, err := admin.Try(http.MethodGet, "/consumers/bob/key-auth/"+keyCanary, nil); err != nil || answer.Status != 503 {
		t.Errorf("a secret without its key: %d %s %v", answer.Status, answer.Body, err)
	}
	cp.Env = withPrivate
	restart("", "ready", second, first, second)
	answers(t, cp, keyCanary, "canary-under-the-second-key")
	c.NoSecretInLogs(append(materials, keyCanary, "canary-under-the-second-key")...)
}

// A private key that others can read is refused with the remedy.
func TestPrivateKeyThatOthersRead(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	private, public := recoveryPair(t)
	for _, mode := range []os.FileMode{0o644, 0o604} {
		if err := os.Chmod(private, mode); err != nil {
			t.Fatal(err)
		}
		cp := c.ControlPlane("cp", "--keyring-public-key", public)
		cp.Env = []string{"KEEPGATE_KEYRING_PRIVATE_KEY=" + private}
		mustNotStart(t, cp, "keyring_private_key", "chmod 600 "+private)
	}
}

// Without Kong's deprecated pair a node serves as ever; an export and an import say what each of them lacks.
func TestExportsWithoutThePair(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	private, public := recoveryPair(t)
	pem, err := os.ReadFile(private)
	if err != nil {
		t.Fatal(err)
	}
	refuses := func(cp *harness.ControlPlane, path, setting string) {
		t.Helper()
		answer, err := harness.Do(http.MethodPost, cp.Admin().URL(path), "data=x", "Content-Type", "application/x-www-form-urlencoded")
		if path == "/keyring/export" {
			answer, err = cp.Admin().Try(http.MethodPost, path, nil)
		}
		if err != nil || answer.Status != 400 || !strings.Contains(answer.Body, setting+" is not set") {
			t.Errorf("%s: %d %s %v, want to hear of %s", path, answer.Status, answer.Body, err, setting)
		}
	}
	cp := c.ControlPlane("cp")
	cp.Start()
	refuses(cp, "/keyring/export", "keyring_public_key")
	refuses(cp, "/keyring/import", "keyring_private_key")
	made, _ := cp.Admin().Do(201, http.MethodPost, "/keyring/generate", nil)["id"].(string)
	cp.Admin().Form(204, http.MethodPost, "/keyring/activate", url.Values{"key": {made}})
	cp.Stop()

	cp.Env = []string{"KONG_KEYRING_PUBLIC_KEY=" + public}
	cp.Start()
	data, _ := cp.Admin().Do(200, http.MethodPost, "/keyring/export", nil)["data"].(string)
	refuses(cp, "/keyring/import", "keyring_private_key")
	cp.Stop()

	cp.Env = []string{"KONG_KEYRING_PRIVATE_KEY=" + base64.StdEncoding.EncodeToString(pem)} // as Kong takes it too
	cp.Start()
	refuses(cp, "/keyring/export", "keyring_public_key")
	if imported := cp.Admin().Form(201, http.MethodPost, "/keyring/import", url.Values{"data": {data}}); imported["active"] != made || len(words(imported["imported"])) != 2 {
		t.Errorf("imported %v", imported)
	}
	cp.AwaitLog("deprecated")
	c.NoSecretInLogs(strings.Split(string(pem), "\n")[3])
}

// What people read of the nodes and of their keyring is what the nodes are.
func TestNodesAndStatusForPeople(t *testing.T) {
	t.Parallel()
	n := newNodes(t, 2, func(int) []string { return nil })
	for _, cp := range n.all {
		cp.Launch()
	}
	for _, cp := range n.all {
		cp.AwaitReady()
	}
	active := n.agree(1)
	n.all[0].Admin().Do(201, http.MethodPost, "/consumers", harness.Document{"username": "bob"})
	n.credential(n.all[0], "one")
	harness.Eventually(t, "both nodes in the list of each", func() string {
		for _, cp := range n.all {
			said, err := n.TryCP("nodes", "--admin-url", "http://"+cp.Listen)
			lines := strings.Split(said, "\n")
			for _, line := range lines[min(1, len(lines)):] {
				name, _, _ := strings.Cut(line, " ")
				if !strings.HasPrefix(name, "cp-") {
					continue
				}
				if own := name == cp.Name; !strings.Contains(line, " live") || own != strings.Contains(line, "this one") ||
					!strings.Contains(line, "cluster") || !strings.HasSuffix(strings.TrimSpace(line), active) || !own && !strings.Contains(line, "ago") {
					return cp.Name + " says " + line
				}
			}
			if err != nil || !strings.Contains(said, "\ncp-0 ") || !strings.Contains(said, "\ncp-1 ") || !strings.Contains(said, "NATS: embedded") {
				return said
			}
		}
		return ""
	})
	said, err := n.TryCP("keyring", "status", "--admin-url", "http://"+n.all[1].Listen)
	if err != nil || !strings.HasPrefix(said, "keyring   ready, strategy cluster, ") || !strings.Contains(said, active+"  active") || !strings.Contains(said, "keyauth_credentials 1") {
		t.Errorf("keyring status: %s, %v", said, err)
	}
	t.Log("\n" + said)
	n.all[1].Stop()
	harness.Eventually(t, "the end of a node", func() string {
		said, err := n.TryCP("nodes", "--admin-url", "http://"+n.all[0].Listen)
		if err != nil || strings.Contains(said, "\ncp-1 ") && !strings.Contains(said, "away") {
			return said
		}
		t.Log("\n" + said)
		return ""
	})
}
