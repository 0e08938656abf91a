package kms_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/keyringtest"
	"github.com/keepgate/keepgate/controlplane/keyring/kms"
	"github.com/keepgate/keepgate/e2e/kmsplugin"
	"github.com/keepgate/keepgate/e2e/kmsplugin/control"
	"github.com/keepgate/keepgate/shared/kmsclient"
)

// process is one node whose plugin is a process of its own.
type process struct {
	t      *testing.T
	plugin *kmsplugin.Plugin
	store  *keyringtest.Store
	keeper *kms.Keeper
	ring   *keyring.Ring
	stop   func()
}

func newProcess(t *testing.T) *process {
	t.Helper()
	p := &process{t: t, plugin: kmsplugin.Start(t, t.TempDir()), store: &keyringtest.Store{}}
	p.start()
	t.Cleanup(func() { p.stop() })
	p.await("the first key", func() bool { return p.active() != "" })
	return p
}

func (p *process) start() {
	p.t.Helper()
	if p.stop != nil {
		p.stop()
	}
	client, err := kmsclient.NewV2(kmsclient.Options{Name: provider, Endpoint: p.plugin.Endpoint(), Timeout: 500 * time.Millisecond})
	if err != nil {
		p.t.Fatal(err)
	}
	p.keeper = kms.New(provider, client, kms.Options{
		Endpoint: p.plugin.Endpoint(), Permitted: time.Second, Healthy: 50 * time.Millisecond, Unhealthy: 50 * time.Millisecond,
	})
	p.ring, err = keyring.Open(p.t.Context(), p.store, p.keeper, keyringtest.Prover("peers"), keyring.Options{Cluster: clusterID, Ring: ringName, Sealing: p.keeper.Sealing})
	if err != nil {
		p.t.Fatal(err)
	}
	p.stop = running(p.t.Context(), p.keeper, p.ring)
}

func (p *process) active() string {
	id, _, err := p.ring.Active()
	if err != nil {
		return ""
	}
	return id
}

// await waits for what must come, however slow the machine is.
func (p *process) await(what string, done func() bool) {
	p.t.Helper()
	for began := time.Now(); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			_, _, err := p.ring.Active()
			p.t.Fatalf("%s did not come: %+v, %v", what, p.keeper.Health(), err)
		}
	}
}

// asked waits until the plugin was asked for its status some more times.
func (p *process) asked() {
	p.t.Helper()
	before := p.keeper.Health().LastGood
	p.await("another good status", func() bool { return p.keeper.Health().LastGood.Sub(before) > 200*time.Millisecond })
}

func refusing(method control.Method) func(*control.Faults) {
	return func(f *control.Faults) {
		f.Refuse[method] = control.Refusal{Code: uint32(codes.PermissionDenied), Message: "the test denies it"}
	}
}

// TestAProcessWhoseStatusIsBad: whatever is wrong with it, sealing ends, reading goes on, health says what it is, and all
// heals when it does.
func TestAProcessWhoseStatusIsBad(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	id := p.active()
	empty, long := "", strings.Repeat("k", 1025)
	for _, c := range []struct {
		name   string
		breaks func(*control.Faults)
		says   string
	}{
		{"hangs", func(f *control.Faults) { f.Hang[control.Status] = true }, "did not answer in time"},
		{"refuses", refusing(control.Status), "the test denies it"},
		{"is ill", func(f *control.Faults) { f.Healthz = "the backend is away" }, "the backend is away"},
		{"says no key_id", func(f *control.Faults) { f.StatusKeyID = &empty }, "key_id is empty"},
		{"says a long key_id", func(f *control.Faults) { f.StatusKeyID = &long }, "1024 bytes"},
		{"speaks another version", func(f *control.Faults) { f.Version = "v3" }, "neither v2 nor"},
		{"changes its version", func(f *control.Faults) { f.Version = "v2beta1" }, "v2beta1"},
	} {
		p.plugin.Break(c.breaks)
		p.await(c.name+": the end of sealing", func() bool { return p.active() == "" })
		if h := p.keeper.Health(); h.Healthy || h.Sealing || !strings.Contains(h.Text, c.says) {
			t.Errorf("%s: Health = %+v", c.name, h)
		}
		if _, err := p.ring.Key(id); err != nil {
			t.Errorf("%s: Key = %v", c.name, err)
		}
		p.plugin.Mend()
		p.await(c.name+": healing", func() bool { return p.active() == id && p.keeper.Health().Healthy })
	}
	if counts := p.keeper.Counts(); counts.Invalid["empty"] == 0 || counts.Invalid["too_long"] == 0 || len(counts.Status) != 1 {
		t.Errorf("Counts = %+v", counts)
	}
}

// TestAProcessThatDies: a stale socket file changes nothing, a restarted node waits, and both heal with the plugin.
func TestAProcessThatDies(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	id := p.active()
	p.plugin.Kill() // its socket file stays
	p.await("the end of sealing", func() bool { return p.active() == "" })
	p.start()
	p.await("a failure", func() bool { return len(p.keeper.Health().Unopened) == 1 })
	if h := p.keeper.Health(); stateOf(p.ring, id).State != "missing" || h.Healthy || !strings.Contains(h.Text, "nobody listens") {
		t.Errorf("Health = %+v", h)
	}
	p.plugin.Restart()
	p.await("the key", func() bool { return p.active() == id })
	p.plugin.Break(func(f *control.Faults) { f.Die[control.Status] = true })
	p.await("the end of sealing", func() bool { return p.active() == "" })
	p.plugin.Restart()
	p.plugin.Mend()
	p.await("the key", func() bool { return p.active() == id })
}

// TestAProcessThatDeniesToDecrypt while its status is good: who holds the key seals on, who starts waits.
func TestAProcessThatDeniesToDecrypt(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	id := p.active()
	p.plugin.Break(refusing(control.Decrypt))
	p.asked()
	if p.active() != id || !p.keeper.Health().Healthy {
		t.Errorf("%+v", p.keeper.Health())
	}
	for name, breaks := range map[string]struct {
		how  func(*control.Faults)
		says string
	}{
		"denies":           {refusing(control.Decrypt), "the test denies it"},
		"answers wrong":    {func(f *control.Faults) { f.Plaintext = "wrong" }, "check value differs"},
		"answers short":    {func(f *control.Faults) { f.Plaintext = "short" }, "check value differs"},
		"answers nothing":  {func(f *control.Faults) { f.Plaintext = "empty" }, "decrypts to nothing"},
		"hangs at Decrypt": {func(f *control.Faults) { f.Hang[control.Decrypt] = true }, "did not answer in time"},
	} {
		p.plugin.Mend()
		p.plugin.Break(breaks.how)
		p.start()
		p.await(name+": a failure", func() bool { return strings.Contains(p.keeper.Health().Text, breaks.says) })
		if h := p.keeper.Health(); h.Healthy || p.active() != "" {
			t.Errorf("%s: Health = %+v", name, h)
		}
	}
	p.plugin.Mend()
	p.await("the key", func() bool { return p.active() == id })
	if keys := p.store.StoredOf(ringName).Keys; len(keys) != 1 {
		t.Errorf("%d keys were made", len(keys))
	}
}

// TestAProcessThatEncryptsBadly: no key is made of what it answers, and sealing ends when the old key_id is gone for long.
func TestAProcessThatEncryptsBadly(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	id := p.active()
	other, long := "key-9", strings.Repeat("k", 1025)
	for i, c := range []struct {
		name   string
		breaks func(*control.Faults)
		says   string
	}{
		{"under another key_id", func(f *control.Faults) { f.EncryptKeyID = &other }, "both must be the same"},
		{"under a long key_id", func(f *control.Faults) { f.EncryptKeyID = &long }, "1024 bytes"},
		{"to nothing", func(f *control.Faults) { f.CipherSize = -1 }, "0 bytes"},
		{"to too much", func(f *control.Faults) { f.CipherSize = 1025 }, "1025 bytes"},
		{"with a bad annotation", func(f *control.Faults) { f.Annotations = map[string][]byte{"one": {1}} }, "RFC 1123"},
		{"to garbage", func(f *control.Faults) { f.Garbage = true }, "does not decrypt"},
		{"not at all", refusing(control.Encrypt), "the test denies it"},
	} {
		p.plugin.Break(func(f *control.Faults) { // at once: it must not be good in between
			*f = control.Faults{Refuse: map[control.Method]control.Refusal{}}
			c.breaks(f)
		})
		if i == 0 {
			p.plugin.Rotate("key-2")
		}
		p.await(c.name+": the fault", func() bool { return strings.Contains(p.keeper.Health().Text, c.says) })
		if keys := p.store.StoredOf(ringName).Keys; len(keys) != 1 {
			t.Fatalf("%s: %d keys", c.name, len(keys))
		}
	}
	p.await("the end of sealing", func() bool { return p.active() == "" })
	if _, err := p.ring.Key(id); err != nil {
		t.Errorf("Key = %v", err)
	}
	p.plugin.Mend()
	p.await("a new key", func() bool { return p.active() != "" && p.active() != id })
}

// TestAProcessThatGoesBack makes a third key for the key_id that it had, and few when it cannot settle.
func TestAProcessThatGoesBack(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	p.plugin.Rotate("key-2")
	p.await("the second key", func() bool { return len(p.store.StoredOf(ringName).Keys) == 2 && p.keeper.Health().WaitingFor == "" })
	p.plugin.Return("key-1")
	p.await("the third key", func() bool { return len(p.store.StoredOf(ringName).Keys) == 3 && p.keeper.Health().WaitingFor == "" })
	p.plugin.Break(func(f *control.Faults) { f.Flap = true })
	p.await("a word of it", func() bool { return strings.Contains(p.keeper.Health().Text, "changes more often") })
	if keys := p.store.StoredOf(ringName).Keys; len(keys) != 3 {
		t.Errorf("%d keys", len(keys))
	}
}
