package e2e_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/keepgate/keepgate/e2e/harness"
	"github.com/keepgate/keepgate/e2e/kmsplugin"
	"github.com/keepgate/keepgate/e2e/kmsplugin/control"
)

// socketWire leads to a plugin by a socket of its own, so that one node can lose what another keeps.
type socketWire struct {
	t        *testing.T
	from, to string

	mu       sync.Mutex
	listener net.Listener // guarded by mu; nil while it is cut
	open     map[net.Conn]bool
}

func newSocketWire(t *testing.T, to string) *socketWire {
	t.Helper()
	w := &socketWire{t: t, from: "@" + filepath.Join(t.TempDir(), "wire"), to: to, open: map[net.Conn]bool{}}
	w.heal()
	t.Cleanup(w.cut)
	return w
}

func (w *socketWire) endpoint() string { return "unix:///" + w.from }

func (w *socketWire) heal() {
	w.t.Helper()
	listener, err := net.Listen("unix", w.from)
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.listener = listener
	go w.serve(listener)
}

func (w *socketWire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.listener != nil {
		_ = w.listener.Close()
	}
	w.listener = nil
	for conn := range w.open {
		_ = conn.Close()
	}
	clear(w.open)
}

func (w *socketWire) serve(listener net.Listener) {
	for {
		in, err := listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("unix", w.to)
		if err != nil || !w.keep(listener, in, out) {
			_ = in.Close()
			continue
		}
		for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
			go func() {
				_, _ = io.Copy(pair[0], pair[1]) // ends with either
				_, _ = pair[0].Close(), pair[1].Close()
			}()
		}
	}
}

func (w *socketWire) keep(listener net.Listener, conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.listener != listener {
		return false
	}
	for _, conn := range conns {
		w.open[conn] = true
	}
	return true
}

func kmsStrategy(endpoint string) []string {
	return []string{"--keyring-strategy", "kms", "--keyring-kms-endpoint", endpoint, "--keyring-kms-timeout", "1s"}
}

// asks has a node look at its plugin, as a kubelet that probes it would, and returns what it says.
func asks(t *testing.T, cp *harness.ControlPlane) (status int, said string) {
	t.Helper()
	answer, err := harness.Get("http://" + cp.Status + "/healthz/kms-providers")
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status, answer.Body
}

func write(t *testing.T, cp *harness.ControlPlane, key string) harness.Answer {
	t.Helper()
	answer, err := cp.Admin().Try(http.MethodPost, "/consumers/bob/key-auth", harness.Document{"key": key})
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// A keyring that a plugin wraps: every outage heals by itself, a changed key_id makes a new key, old values read on and
// are written again, and nothing that the plugin refuses is taken for an answer.
func TestKMSKeyring(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T) database{"sqlite": sqliteDatabase, "postgres": postgresDatabase} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, c := open(t), harness.New(t)
			plugin := kmsplugin.New(t, t.TempDir(), kmsplugin.Options{})
			cp := c.ControlPlane("cp", append(db.flags, kmsStrategy(plugin.Endpoint())...)...)
			cp.Start() // without a plugin
			for path, want := range map[string]int{"/livez": 200, "/readyz": 500} {
				if answer, err := harness.Get("http://" + cp.Status + path); err != nil || answer.Status != want {
					t.Errorf("%s without a plugin: %d %s %v, want %d", path, answer.Status, answer.Body, err, want)
				}
			}
			cp.Admin().Do(201, http.MethodPost, "/consumers", harness.Document{"username": "bob"})
			began := time.Now()
			if answer := write(t, cp, "too-early"); answer.Status != 503 || time.Since(began) > 5*time.Second {
				t.Errorf("a write before the first key: %d %s after %v", answer.Status, answer.Body, time.Since(began))
			}
			plugin.Start()
			awaitReady(t, cp)
			first := made(t, write(t, cp, "canary-kms-one"))
			_, older, _ := ring(t, cp)
			db.sealed(t, cp, "select key from keyauth_credentials where key is not null")

			cp.Kill()
			plugin.Break(func(f *control.Faults) {
				f.Refuse[control.Decrypt] = control.Refusal{Code: uint32(codes.PermissionDenied), Message: "the test denies it"}
			})
			cp.Start() // Status is well, and nothing opens
			if answer, err := cp.Admin().Try(http.MethodGet, "/consumers/bob/key-auth/"+first, nil); err != nil || answer.Status != 503 {
				t.Errorf("a read while the plugin denies to decrypt: %d %s %v", answer.Status, answer.Body, err)
			}
			plugin.Mend()
			awaitReady(t, cp)
			cp.Admin().Do(200, http.MethodGet, "/consumers/bob/key-auth/"+first, nil)

			newer := plugin.Rotate("")
			active := older
			harness.Eventually(t, "a new key for a new key_id", func() string {
				asks(t, cp)
				if _, active, _ = ring(t, cp); active == older {
					return "key " + older + " is still active"
				}
				return ""
			})
			made(t, write(t, cp, "canary-kms-two"))
			cp.Admin().Do(200, http.MethodGet, "/consumers/bob/key-auth/"+first, nil)
			reencrypt(t, cp, url.Values{})
			settled(t, cp)
			for _, value := range db.column(t, cp, "select key from keyauth_credentials where key is not null") {
				if !strings.HasPrefix(value, "$ke$1$-"+active+"-") {
					t.Errorf("a value rests as %.20q, want under key %s", value, active)
				}
			}
			plugin.Return("key-1") // what a plugin must not do
			harness.Eventually(t, "a third key", func() string {
				asks(t, cp)
				if ids, now, _ := ring(t, cp); now == active || slices.Contains([]string{older, active}, now) {
					return fmt.Sprint("active ", now, " of ", ids)
				}
				return ""
			})
			c.NoSecretInLogs("canary-kms-one", "canary-kms-two")
			if log := cp.Log(); strings.Contains(log, newer) && len(newer) > 8 {
				t.Errorf("the log names a key_id, which is to be hashed")
			}
		})
	}
}

// made is the id of what was written.
func made(t *testing.T, answer harness.Answer) (id string) {
	t.Helper()
	if answer.Status != 201 {
		t.Fatalf("a write: %d %s", answer.Status, answer.Body)
	}
	_, after, _ := strings.Cut(answer.Body, `"id":"`)
	id, _, _ = strings.Cut(after, `"`)
	return id
}

func awaitReady(t *testing.T, cp *harness.ControlPlane) {
	t.Helper()
	harness.Eventually(t, cp.Name+" being ready", func() string {
		asks(t, cp)
		if _, active, state := ring(t, cp); state != "ready" || active == "" {
			return "its keyring is " + state
		}
		// The index key, by which secrets are found, comes a moment after the ring that it is sealed under.
		if answer, err := cp.Admin().Try(http.MethodGet, "/consumers/bob/key-auth/none", nil); err != nil || answer.Status != 404 {
			return fmt.Sprint(answer.Status, answer.Body, err)
		}
		return ""
	})
}

// One of two nodes loses its plugin while the key_id changes: the new key waits for it, it stops writing when its last
// good status is three minutes old, the other goes on, and neither writes what the other cannot read.
func TestANodeWithoutItsPluginStopsWriting(t *testing.T) {
	t.Parallel()
	db, c := postgresDatabase(t), harness.New(t)
	plugin := kmsplugin.Start(t, t.TempDir())
	wire := newSocketWire(t, plugin.Socket())
	whole := c.Node("whole", append(slices.Clone(db.flags), kmsStrategy(plugin.Endpoint())...)...)
	lone := c.Node("lone", append(slices.Clone(db.flags), kmsStrategy(wire.endpoint())...)...)
	for _, cp := range []*harness.ControlPlane{whole, lone} {
		cp.Start()
		awaitReady(t, cp)
	}
	whole.Admin().Do(201, http.MethodPost, "/consumers", harness.Document{"username": "bob"})
	var written []string // the last ones
	count := 0
	writes := func(cp *harness.ControlPlane) (status int, said string) {
		t.Helper()
		count++
		key := fmt.Sprintf("canary-%s-%d", cp.Name, count)
		answer := write(t, cp, key)
		if answer.Status == 201 {
			written = append(written, key)
		}
		return answer.Status, answer.Body
	}
	everywhere := func() {
		t.Helper()
		for _, cp := range []*harness.ControlPlane{whole, lone} {
			for _, key := range written {
				cp.Admin().Do(200, http.MethodGet, "/consumers/bob/key-auth/"+key, nil)
			}
		}
	}
	for _, cp := range []*harness.ControlPlane{whole, lone} {
		awaitReady(t, cp)
		if status, said := writes(cp); status != 201 {
			t.Fatalf("a write at %s: %d %s", cp.Name, status, said)
		}
	}
	everywhere()
	_, older, _ := ring(t, whole)

	wire.cut()
	cutAt := time.Now()
	plugin.Rotate("")
	const permitted = 3 * time.Minute
	refusedAt := time.Time{}
	for refusedAt.IsZero() && time.Since(cutAt) < permitted+time.Minute {
		asks(t, whole)
		if status, said := writes(whole); status != 201 {
			t.Fatalf("a write at the node with a plugin, %v after the other lost its: %d %s", time.Since(cutAt), status, said)
		}
		switch status, said := writes(lone); {
		case status == 503 && strings.Contains(said, "kms"):
			refusedAt = time.Now()
		case status != 201:
			t.Fatalf("a write at the node without a plugin: %d %s", status, said)
		}
		if _, active, _ := ring(t, whole); active != older {
			t.Fatalf("key %s is active although a living node cannot open it", active)
		}
		everywhere()
		written = written[max(0, len(written)-4):]
		time.Sleep(5 * time.Second)
	}
	if refusedAt.IsZero() {
		t.Fatalf("the node without a plugin still writes %v after", time.Since(cutAt))
	}
	if early := permitted - time.Minute - refusedAt.Sub(cutAt); early > 10*time.Second {
		t.Errorf("writes ended %v after the cut: the last good status was at most a minute older", refusedAt.Sub(cutAt))
	}
	if status, said := asks(t, lone); status != 500 || said == "" {
		t.Errorf("the health of a node without a plugin: %d %s", status, said)
	}
	if status, said := writes(whole); status != 201 {
		t.Errorf("the other node: %d %s", status, said)
	}
	everywhere() // reads go on

	wire.heal()
	harness.Eventually(t, "the new key at both nodes", func() string {
		asks(t, lone)
		_, one, _ := ring(t, whole)
		_, two, _ := ring(t, lone)
		if one == older || two != one {
			return fmt.Sprintf("active are %s and %s", one, two)
		}
		return ""
	})
	for _, cp := range []*harness.ControlPlane{whole, lone} {
		if status, said := writes(cp); status != 201 {
			t.Errorf("a write at %s after all: %d %s", cp.Name, status, said)
		}
	}
	everywhere()
}

// A node does not begin to write by a plugin whose key another node has not opened: that one started while its own
// plugin was away.
func TestNoWriterThatANodeHasNotOpened(t *testing.T) {
	t.Parallel()
	db, c := postgresDatabase(t), harness.New(t)
	plugin := kmsplugin.Start(t, t.TempDir())
	wire := newSocketWire(t, plugin.Socket())
	whole := kmsEntry("vault-foo", plugin)
	files := []providers{newProviders(t, localKey, whole), newProviders(t, localKey, strings.Replace(whole, plugin.Endpoint(), wire.endpoint(), 1))}
	var all []*harness.ControlPlane
	for i, file := range files {
		cp := c.Node(fmt.Sprintf("cp-%d", i), append(slices.Clone(db.flags), "--keyring-enabled=off", file.flag())...)
		cp.Start()
		all = append(all, cp)
	}
	all[0].Admin().Do(201, http.MethodPost, "/consumers", harness.Document{"username": "bob"})
	all[1].Stop()
	wire.cut()
	all[1].Start()
	files[0].refuses(all[0], []string{"cp-1", "has not opened"}, whole, localKey)
	made(t, write(t, all[0], "canary-local"))
	wire.heal()
	harness.Eventually(t, "the plugin of cp-1", func() string {
		if status, said := asks(t, all[1]); status != 200 {
			return said
		}
		return ""
	})
	files[0].takes(all[0], whole, localKey)
	made(t, write(t, all[0], "canary-kms"))
	db.mixed(t, all[0], "k8s:enc:aesgcm:v1:key1:", "k8s:enc:kms:v2:vault-foo:")
	answers(t, all[1], "canary-local", "canary-kms")
}
