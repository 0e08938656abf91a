package app

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/keepgate/keepgate/dataplane/apply"
	"github.com/keepgate/keepgate/dataplane/enrol"
	"github.com/keepgate/keepgate/dataplane/enrol/enroltest"
	"github.com/keepgate/keepgate/dataplane/localstore"
	"github.com/keepgate/keepgate/shared/configset"
)

// keyFile gives all keys of the organisation, made of one byte that no text has.
func keyFile(t testing.TB, prefix string, fill byte) string {
	t.Helper()
	path := filepath.Join(prefix, "keys.yaml")
	text := "org: " + enroltest.Edge("x").Organisation + "\n"
	for i, name := range []string{"contract", "kms", "kvm"} {
		text += name + "EncryptionKey: " + base64.StdEncoding.EncodeToString(materialOf(fill, byte(i))) + "\n"
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// materialOf is a key that can be looked for.
func materialOf(fill, class byte) []byte {
	return append(bytes.Repeat([]byte{0x80 | fill}, 31), class)
}

// mustHideKeys looks for keys and for what is held in everything below a prefix but the file of keys itself, and in a log.
func mustHideKeys(t testing.TB, when, prefix string, log []byte, fills ...byte) {
	t.Helper()
	hidden := [][]byte{[]byte(canary)}
	for _, fill := range fills {
		for class := range byte(3) {
			hidden = append(hidden, materialOf(fill, class))
		}
	}
	look := func(name string, data []byte) {
		for _, text := range hidden {
			for _, form := range [][]byte{text, []byte(hex.EncodeToString(text)), []byte(base64.StdEncoding.EncodeToString(text))} {
				if bytes.Contains(data, form) {
					t.Errorf("%s: something secret lies in %s", when, name)
				}
			}
		}
	}
	look("the log", log)
	err := filepath.WalkDir(prefix, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || entry.Name() == "keys.yaml" {
			return err
		}
		data, err := os.ReadFile(path)
		look(path, data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// keyedPlane opens what a joined node left below a prefix, with keys by file.
func keyedPlane(t testing.TB, prefix, file string, log *lines) *plane {
	t.Helper()
	p := planeIn(t, prefix, enrol.Disk{})
	p.settings.Keys.File, p.log = file, slog.New(slog.NewTextHandler(log, nil))
	if err := p.open(); err != nil {
		t.Fatal(err)
	}
	return p
}

// lines is a log that can be read meanwhile.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(data)
}

func (l *lines) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.text.Bytes())
}

func mustHold(t testing.TB, when string, p *plane, n int) {
	t.Helper()
	state, holds := p.applier.Held()
	if want := held(n); !holds || state.Set.Hash() != want.Set.Hash() || p.store.Report().Status != localstore.Whole {
		t.Fatalf("%s: it holds version %d of %d, %+v", when, state.Version, n, p.store.Report())
	}
}

// give has the node take a state.
func give(t testing.TB, p *plane, n int) {
	t.Helper()
	next := held(n)
	before, _ := p.applier.Held()
	update := apply.Update{Target: next.Position(), Base: before.Position(), Delta: configset.Diff(before.Set, next.Set)}
	if refusal := p.applier.Apply(update); refusal != nil {
		t.Fatal(refusal)
	}
}

// Keys come, change while the node runs and while it is down, are given wrongly, and go: what it holds stays, and in the
// end only the keys of now are needed.
func TestScopedKeysChange(t *testing.T) {
	t.Parallel()
	c, prefix := enroltest.New(t), t.TempDir()
	if err := joinedPlane(t, c, prefix, enrol.Disk{}).store.Close(); err != nil {
		t.Fatal(err)
	}
	log := &lines{}
	p := keyedPlane(t, prefix, keyFile(t, prefix, 1), log)
	mustHold(t, "given before the start", p, 3)
	if !p.lookAtKeys(t.Context(), false) {
		t.Fatalf("%s", log.bytes())
	}
	settled := func(when string, changes, refusals uint64) {
		t.Helper()
		s := p.sealing()
		if s.Left != 0 || s.Clear != 0 || s.Remembered != 0 || s.Migration != "done" || len(s.Keys) != 3 || s.Changes != changes || s.Refusals != refusals {
			t.Errorf("%s: %+v", when, s)
		}
		mustHideKeys(t, when, prefix, log.bytes(), 1, 2, 3)
	}
	settled("given before the start", 0, 0)
	give(t, p, 4)

	keyFile(t, prefix, 2)
	if !p.lookAtKeys(t.Context(), false) {
		t.Fatalf("%s", log.bytes())
	}
	settled("changed while it runs", 1, 0)
	mustHold(t, "changed while it runs", p, 4)
	give(t, p, 5)

	good, err := os.ReadFile(p.settings.Keys.File)
	if err != nil {
		t.Fatal(err)
	}
	ids := fmt.Sprint(p.sealing().Keys)
	n := 5
	for _, bad := range []string{"", "org: another\n", string(good[:len(good)/2]), strings.Replace(string(good), "kms", "kvm", 1)} {
		if err := os.WriteFile(p.settings.Keys.File, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if p.lookAtKeys(t.Context(), false) || fmt.Sprint(p.sealing().Keys) != ids || p.sealing().Problem == "" {
			t.Errorf("taken: %q, %+v", bad, p.sealing())
		}
		n++
		give(t, p, n)
	}
	if err := os.WriteFile(p.settings.Keys.File, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if !p.lookAtKeys(t.Context(), false) || p.sealing().Problem != "" {
		t.Errorf("%+v", p.sealing())
	}
	settled("after bad files", 1, 4)
	if err := p.store.Close(); err != nil {
		t.Fatal(err)
	}

	p = keyedPlane(t, prefix, keyFile(t, prefix, 3), log)
	mustHold(t, "changed while it was down", p, n)
	if !p.lookAtKeys(t.Context(), false) {
		t.Fatalf("%s", log.bytes())
	}
	settled("changed while it was down", 0, 0)
	if err := p.store.Close(); err != nil {
		t.Fatal(err)
	}

	p = keyedPlane(t, prefix, "", log)
	mustHold(t, "taken away", p, n)
	if !p.lookAtKeys(t.Context(), false) || len(p.sealing().Keys) != 0 || p.sealing().Left != 0 || p.sealing().Remembered != 0 {
		t.Errorf("taken away: %+v", p.sealing())
	}
	if _, err := os.Stat(filepath.Join(prefix, "store", "keys")); err == nil {
		t.Error("keys are remembered that nothing is sealed by")
	}
	if err := p.store.Close(); err != nil {
		t.Fatal(err)
	}
}

// A process that is killed at any step of a change of keys starts again with what it held, with the keys before and the next.
func TestAChangeOfKeysCutShortAnywhere(t *testing.T) {
	t.Parallel()
	c, prefix := enroltest.New(t), t.TempDir()
	if err := joinedPlane(t, c, prefix, enrol.Disk{}).store.Close(); err != nil {
		t.Fatal(err)
	}
	disk := &camera{t: t}
	p := planeIn(t, prefix, disk)
	p.settings.Keys.File = keyFile(t, prefix, 1)
	if err := p.open(); err != nil {
		t.Fatal(err)
	}
	disk.prefix = prefix
	keyFile(t, prefix, 2)
	if !p.lookAtKeys(t.Context(), false) {
		t.Fatalf("%+v", p.sealing())
	}
	disk.shoot()
	disk.prefix = ""
	if err := p.store.Close(); err != nil {
		t.Fatal(err)
	}
	if len(disk.shots) < 15 {
		t.Fatalf("%d steps", len(disk.shots))
	}
	for i, shot := range disk.shots {
		log := &lines{}
		again := keyedPlane(t, shot, keyFile(t, shot, byte(1+i%3)), log)
		mustHold(t, fmt.Sprintf("step %d", i), again, 3)
		if !again.lookAtKeys(t.Context(), false) || again.sealing().Left != 0 || again.sealing().Remembered != 0 {
			t.Errorf("step %d: %+v", i, again.sealing())
		}
		mustHideKeys(t, fmt.Sprintf("step %d", i), shot, log.bytes(), 1, 2, 3)
		if err := again.store.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Without the key, and without having remembered it, the store stays as it is until it is given again.
func TestAStoreUnderAKeyThatIsNowhere(t *testing.T) {
	t.Parallel()
	c, prefix := enroltest.New(t), t.TempDir()
	if err := joinedPlane(t, c, prefix, enrol.Disk{}).store.Close(); err != nil {
		t.Fatal(err)
	}
	log := &lines{}
	if err := keyedPlane(t, prefix, keyFile(t, prefix, 1), log).store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(prefix, "store", "keys")); err != nil {
		t.Fatal(err)
	}
	p := keyedPlane(t, prefix, keyFile(t, prefix, 2), log)
	if _, holds := p.applier.Held(); holds || p.store.Report().Status != localstore.Unopenable || !strings.Contains(string(log.bytes()), "sealed by a scoped key that is given nowhere") {
		t.Errorf("%+v\n%s", p.store.Report(), log.bytes())
	}
	if !p.lookAtKeys(t.Context(), false) || p.sealing().Left == 0 || p.sealing().Migration != "running" {
		t.Errorf("%+v", p.sealing())
	}
	if err := p.store.Close(); err != nil {
		t.Fatal(err)
	}
	p = keyedPlane(t, prefix, keyFile(t, prefix, 1), log)
	mustHold(t, "with the key again", p, 3)
	if err := p.store.Close(); err != nil {
		t.Fatal(err)
	}
}

// The keys that were remembered follow the node's own key, and go with it.
func TestScopedKeysAndMembership(t *testing.T) {
	t.Parallel()
	c, prefix := enroltest.New(t), t.TempDir()
	if err := joinedPlane(t, c, prefix, enrol.Disk{}).store.Close(); err != nil {
		t.Fatal(err)
	}
	log := &lines{}
	p := keyedPlane(t, prefix, keyFile(t, prefix, 1), log)
	renewed(t, p, c)
	p.reread()
	if err := p.store.Close(); err != nil {
		t.Fatal(err)
	}
	p = keyedPlane(t, prefix, keyFile(t, prefix, 2), log)
	mustHold(t, "after a renewal and with other keys", p, 3)
	id := p.belonging.source.Identity()
	if err := p.belonging.member.Wipe(c.Wipe(t, id, id.Serial)); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(filepath.Join(prefix, "store")); err != nil || len(left) != 1 {
		t.Errorf("the store holds %v, %v", left, err)
	}
	if !p.lookAtKeys(t.Context(), true) || p.sealing().Migration != "" {
		t.Errorf("it goes on: %+v", p.sealing())
	}
}

// A start that cannot use the keys that are given does not happen: what it wrote would lie under others.
func TestNoStartWithoutTheKeysThatAreGiven(t *testing.T) {
	t.Parallel()
	c, prefix := enroltest.New(t), t.TempDir()
	if err := joinedPlane(t, c, prefix, enrol.Disk{}).store.Close(); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"org: acme\nkmsEncryptionKey: x\n":             "keys.yaml:2: kmsEncryptionKey: it is not base64",
		"kmsEncryptionKey: kms:v2:AAAA\n":              "is no answer of a KMS plugin",
		"kmsEncryptionKey: vault:v1:AAAA\n":            "encryption_keys_vault_key",
		"kmsEncryptionKey: MDEyMzQ1Njc4OWFiY2RlZg==\n": "encryption_keys_strict refuses it",
	} {
		p := planeIn(t, prefix, enrol.Disk{})
		p.settings.Keys.File, p.settings.Keys.Strict = filepath.Join(prefix, "keys.yaml"), true
		if err := os.WriteFile(p.settings.Keys.File, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := p.open(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("open = %v, want %q", err, want)
		}
	}
}

// Whatever happens to keys, a node keeps what it last said that it holds.
func TestNoSequenceOfKeysLosesWhatIsHeld(t *testing.T) {
	t.Parallel()
	c, prefix := enroltest.New(t), t.TempDir()
	if err := joinedPlane(t, c, prefix, enrol.Disk{}).store.Close(); err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		copied := t.TempDir()
		if err := os.CopyFS(copied, os.DirFS(prefix)); err != nil {
			rt.Fatal(err)
		}
		copyLinks(t, prefix, copied)
		log := &lines{}
		file := keyFile(t, copied, 1)
		p := keyedPlane(t, copied, file, log)
		n := 3
		for range rapid.IntRange(1, 6).Draw(rt, "steps") {
			switch rapid.SampledFrom([]string{"change", "spoil", "look", "give", "restart"}).Draw(rt, "do") {
			case "change":
				keyFile(t, copied, byte(rapid.IntRange(1, 4).Draw(rt, "key")))
			case "spoil":
				if err := os.WriteFile(file, []byte("org"), 0o600); err != nil {
					rt.Fatal(err)
				}
			case "look":
				p.lookAtKeys(context.Background(), false)
			case "give":
				n++
				give(t, p, n)
			case "restart":
				if err := p.store.Close(); err != nil {
					rt.Fatal(err)
				}
				keyFile(t, copied, byte(rapid.IntRange(1, 4).Draw(rt, "key")))
				p = keyedPlane(t, copied, file, log)
			}
			mustHold(t, "in between", p, n)
		}
		if err := p.store.Close(); err != nil {
			rt.Fatal(err)
		}
		os.RemoveAll(copied)
	})
}
