package reencrypt_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/reencrypt"
)

func TestRotation(t *testing.T) {
	engines(t, func(t *testing.T, e *env) {
		e.start(encryption.Options{})
		e.fill(50)
		before, head, old := e.values(), e.head(), e.ring.active
		fresh := e.rotate()
		n := e.run("a", reencrypt.Options{})
		e.begin(n, reencrypt.Request{})
		p := e.awaitDone(n)
		e.same(before)
		if e.head() != head {
			t.Error("it took a revision")
		}
		if diff := cmp.Diff(map[string]int{fresh: 106}, e.under()); diff != "" { // 50 keys, 50 passwords, 5 plugins, an environment
			t.Errorf("rows under keys (-want +got):\n%s", diff)
		}
		want := map[reencrypt.KeyCount]bool{{Key: old}: true, {Key: fresh, Rows: 106, Active: true}: true}
		got := map[reencrypt.KeyCount]bool{}
		for _, key := range p.Proof.Keys {
			got[key] = true
		}
		if diff := cmp.Diff(want, got); diff != "" || p.Resealed != 106 || p.Percent != 100 || p.Unreadable != 0 || p.Proof.Clear != 0 {
			t.Errorf("progress %+v, keys of the proof (-want +got):\n%s", p, diff)
		}
		if e.recorded("reencrypt.start") != 1 || e.recorded("reencrypt.done") != 1 {
			t.Error("the journal lacks the start or the end")
		}
		e.begin(n, reencrypt.Request{}) // again: nothing to do
		if p := e.awaitDone(n); p.Resealed != 0 || p.Pass != 1 {
			t.Errorf("a second job wrote %d rows in %d passes", p.Resealed, p.Pass)
		}
		e.same(before)
	})
}

func TestOnlyATableOrAWorkspace(t *testing.T) {
	engines(t, func(t *testing.T, e *env) {
		e.start(encryption.Options{})
		e.fill(30)
		other, err := e.catalog.Insert(t.Context(), e.at("workspaces"), map[string]any{"name": "other"})
		if err != nil {
			t.Fatal(err)
		}
		first := e.ws
		e.ws = other.ProtoReflect().Get(other.ProtoReflect().Descriptor().Fields().ByName("id")).String()
		e.fillKeys("w", 25)
		before, old := e.values(), e.ring.active
		fresh := e.rotate()
		n := e.run("a", reencrypt.Options{})
		e.begin(n, reencrypt.Request{Workspace: e.ws})
		if p := e.awaitDone(n); p.Resealed != 25 {
			t.Errorf("the workspace holds 25 secrets, %d were written", p.Resealed)
		}
		e.begin(n, reencrypt.Request{Workspace: first, Table: "basicauth_credentials"})
		if p := e.awaitDone(n); p.Resealed != 30 {
			t.Errorf("the table holds 30 secrets, %d were written", p.Resealed)
		}
		if diff := cmp.Diff(map[string]int{old: 34, fresh: 55}, e.under()); diff != "" {
			t.Errorf("rows under keys (-want +got):\n%s", diff)
		}
		e.same(before)
	})
}

// contains looks for a text in all files of the database.
func (e *env) contains(text string) bool {
	e.t.Helper()
	files, err := filepath.Glob(e.path + "*")
	if err != nil || len(files) == 0 {
		e.t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			e.t.Fatal(err)
		}
		if bytes.Contains(data, []byte(text)) {
			return true
		}
	}
	return false
}

func TestFirstEncryption(t *testing.T) {
	engines(t, func(t *testing.T, e *env) {
		e.plain()
		e.fill(50)
		before := e.values()
		e.start(encryption.Options{Migrate: true})
		if !e.cipher.Migrating() {
			t.Fatal("no migration to end")
		}
		head := e.head()
		n, watching := e.run("a", reencrypt.Options{}), e.run("b", reencrypt.Options{})
		e.begin(n, reencrypt.Request{})
		p := e.awaitDone(watching)
		e.same(before)
		if p.Proof.Ended != "migration" || p.Proof.Clear != 0 || e.cipher.Migrating() || e.head() != head {
			t.Errorf("proof %+v, migrating %t", p.Proof, e.cipher.Migrating())
		}
		if diff := cmp.Diff(map[string]int{e.ring.active: 106}, e.under()); diff != "" {
			t.Errorf("rows under keys (-want +got):\n%s", diff)
		}
		if e.path != "" && strings.Contains(p.Proof.Files, "could not be built anew") { // nodes that wrote meanwhile come first
			n.kill()
			watching.kill()
			if err := e.store.(interface{ Scrub(context.Context) error }).Scrub(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if e.path != "" && e.contains("canary") {
			t.Errorf("the files still hold a plaintext, and the proof says: %s", p.Proof.Files)
		}
		e.start(encryption.Options{}) // the declaration is not needed any more
		e.same(before)
	})
}

func TestOldCiphertextLeavesTheFile(t *testing.T) {
	t.Parallel()
	e := newEnv(t, "")
	e.start(encryption.Options{})
	e.fill(200)
	old := e.ring.active
	e.rotate()
	n := e.run("a", reencrypt.Options{})
	if !e.contains("$ke$1$-" + old + "-") {
		t.Fatal("the test cannot fail")
	}
	e.begin(n, reencrypt.Request{})
	e.awaitDone(n)
	n.kill()
	// The index key's copy under the old key stays until the key is removed; the rows' values are gone.
	text, _, err := e.store.Meta(t.Context(), "index_key")
	if err != nil || !strings.Contains(text, old) {
		t.Fatalf("index key %v", err)
	}
	if err := e.store.SwapMeta(t.Context(), "index_key", &text, strings.ReplaceAll(text, old, "gone")); err != nil {
		t.Fatal(err)
	}
	if err := e.store.(interface{ Scrub(context.Context) error }).Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	if e.contains("$ke$1$-" + old + "-") {
		t.Error("the files still hold values under the old key")
	}
}

func TestDecryptAll(t *testing.T) {
	engines(t, func(t *testing.T, e *env) {
		e.start(encryption.Options{})
		e.fill(50)
		before, head := e.values(), e.head()
		e.start(encryption.Options{Decrypt: true})
		e.same(before)
		n := e.run("a", reencrypt.Options{})
		e.begin(n, reencrypt.Request{})
		p := e.awaitDone(n)
		e.same(before)
		if p.To != "plaintext" || p.Proof.Ended != "encryption" || e.head() != head {
			t.Errorf("progress %+v", p)
		}
		if diff := cmp.Diff(map[string]int{"": 101}, e.under()); diff != "" { // plaintext inside a body is not counted
			t.Errorf("rows under keys (-want +got):\n%s", diff)
		}
		if clear, err := encryption.OpensWithoutKeyring(t.Context(), e.store); err != nil || !clear {
			t.Errorf("the index key rests in clear: %t, %v", clear, err)
		}
		n.kill()
		e.start(encryption.Options{Decrypt: true}) // a restart before the setting is taken out
		e.plain()
		e.same(before)
		if e.get("keyauth_credentials", "canary-key-7") == "" {
			t.Error("the fingerprints changed")
		}
		e.start(encryption.Options{Migrate: true}) // and back again
		n = e.run("b", reencrypt.Options{})
		e.begin(n, reencrypt.Request{})
		if p := e.awaitDone(n); p.Proof.Ended != "migration" {
			t.Errorf("progress %+v", p)
		}
		e.same(before)
	})
}

// An operator who changes their mind in the middle of it loses nothing.
func TestDecryptAllGivenUp(t *testing.T) {
	t.Parallel()
	e := newEnv(t, "")
	e.start(encryption.Options{})
	e.fill(50)
	before := e.values()
	e.start(encryption.Options{Decrypt: true})
	n := e.run("a", reencrypt.Options{})
	e.begin(n, reencrypt.Request{Table: "keyauth_credentials"})
	if p := e.awaitDone(n); p.Proof.Ended != "" || p.Resealed != 50 {
		t.Errorf("progress %+v", p)
	}
	n.kill()
	if _, err := encryption.New(t.Context(), e.store, encryption.FromSettings(e.ring, encryption.Options{})); err == nil {
		t.Error("plaintext beside the keyring is not told")
	}
	e.start(encryption.Options{Migrate: true})
	e.same(before)
	n = e.run("b", reencrypt.Options{})
	e.begin(n, reencrypt.Request{})
	if p := e.awaitDone(n); p.Proof.Ended != "migration" || p.Proof.Clear != 0 {
		t.Errorf("progress %+v", p)
	}
	e.same(before)
}
