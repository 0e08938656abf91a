// Package kmsown measures how long a value of 1 KiB takes through a chain with a kms provider of version 2 whose seed is
// cached: chain, ring and keeper as in a control plane, over a plugin in a process of its own. The section kms of
// e2e/bench runs it in turns with the same of k8s.io/apiserver (e2e/bench/kmspeer).
package kmsown

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/keyringtest"
	"github.com/keepgate/keepgate/controlplane/keyring/kms"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/e2e/kmsplugin"
	"github.com/keepgate/keepgate/e2e/kmsplugin/control"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/kmsclient"
)

const name = "prov"

var (
	home      = aead.Place{Workspace: "8f0c5a52-6a2e-4d4c-8f7e-0b9a4d5c7e11", Table: "keyauth_credentials", Row: "1c9b2f7e-5f0a-4b59-9a61-2f3d4c5b6a70", Field: "key"}
	plaintext = strings.Repeat("x", 1024)
)

// database is the part that a chain and a ring ask of one, in memory.
type database struct {
	keyringtest.Store
	mu   sync.Mutex
	meta map[string]string // guarded by mu
}

func (d *database) Meta(_ context.Context, name string) (value string, found bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	value, found = d.meta[name]
	return value, found, nil
}

func (d *database) SwapMeta(_ context.Context, name string, old *string, value string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if stored, found := d.meta[name]; (old == nil) == found || (found && *old != stored) {
		return fault.Newf(fault.Conflict, "kmsown", name, "something else is stored")
	}
	if d.meta == nil {
		d.meta = map[string]string{}
	}
	d.meta[name] = value
	return nil
}

// chain opens the ring of a plugin and a chain over it, as a start does, and waits until it can seal.
func chain(t testing.TB, plugin *kmsplugin.Plugin, store *database) *encryption.Cipher {
	t.Helper()
	client, err := kmsclient.NewV2(kmsclient.Options{Name: name, Endpoint: plugin.Endpoint(), Timeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	keeper := kms.New(name, client, kms.Options{Endpoint: plugin.Endpoint()})
	ring, err := keyring.Open(t.Context(), store, keeper, keyringtest.Prover("bench"), keyring.Options{
		Cluster: "bench", Node: "n", Ring: encryption.RingName(name), Sealing: keeper.Sealing, Poll: 100 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = keeper.Run(ctx, ring) })
	running.Go(func() { _ = ring.Run(ctx) })
	t.Cleanup(func() {
		stop()
		running.Wait()
		_ = keeper.Close()
	})
	p, err := encryption.KMS(name, ring)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; {
		changed := ring.Changed()
		_, err := p.Mark()
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the provider does not seal: %v", err)
		}
		select {
		case <-changed:
		case <-time.After(time.Second):
		}
	}
	c, err := encryption.New(t.Context(), store, encryption.Chains{Others: &encryption.Chain{Providers: []encryption.Provider{p}}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func sealed(t testing.TB, c *encryption.Cipher) string {
	t.Helper()
	text, err := c.Seal(home, plaintext)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// prepare makes a chain and two values, which two processes wrote: no derived key is theirs together.
func prepare(t testing.TB) (c *encryption.Cipher, texts [2]string) {
	t.Helper()
	plugin, store := kmsplugin.Start(t, t.TempDir()), &database{}
	c = chain(t, plugin, store)
	held := make([]byte, 32<<20) // a control plane holds about as much: alone, the collector would run all the time
	t.Cleanup(func() { runtime.KeepAlive(held) })
	return c, [2]string{sealed(t, c), sealed(t, chain(t, plugin, store))}
}

func TestWhatIsMeasuredWorks(t *testing.T) {
	t.Parallel()
	plugin := kmsplugin.Start(t, t.TempDir())
	c := chain(t, plugin, &database{})
	before := plugin.State().Calls
	for range 100 {
		text := sealed(t, c)
		if opened, stale, err := c.Open(home, text); err != nil || stale || opened != plaintext {
			t.Fatalf("Open: stale is %v, %v", stale, err)
		}
		if mark := record.MarkOf(text); !strings.HasPrefix(mark, record.KMS2Prefix+name+":") || record.KeyOf(mark) == "" {
			t.Fatalf("a value's mark is %q", mark)
		}
	}
	if after := plugin.State().Calls; after[control.Encrypt] != before[control.Encrypt] || after[control.Decrypt] != before[control.Decrypt] {
		t.Errorf("the plugin was asked for values: %v, before %v", after, before)
	}
	c, texts := prepare(t)
	for _, text := range texts {
		if opened, stale, err := c.Open(home, text); err != nil || stale || opened != plaintext {
			t.Errorf("Open: stale is %v, %v", stale, err)
		}
	}
}

func BenchmarkKMSSeal1KiB(b *testing.B) {
	c, _ := prepare(b)
	measure(b, func() error {
		_, err := c.Seal(home, plaintext)
		return err
	})
}

func BenchmarkKMSOpenAgain1KiB(b *testing.B) {
	c, texts := prepare(b)
	measureOpen(b, c, texts[:1])
}

// Two processes wrote them in turn: each has a derived key of its own.
func BenchmarkKMSOpenApart1KiB(b *testing.B) {
	c, texts := prepare(b)
	measureOpen(b, c, texts[:])
}

// None has a derived key that was used lately.
func BenchmarkKMSOpenFirst1KiB(b *testing.B) {
	c, _ := prepare(b)
	texts := make([]string, 512)
	for i := range texts {
		for range 1024 { // after so many values the next one has another derived key
			texts[i] = sealed(b, c)
		}
	}
	measureOpen(b, c, texts)
}

func measureOpen(b *testing.B, c *encryption.Cipher, texts []string) {
	turn := 0
	measure(b, func() error {
		turn++
		_, _, err := c.Open(home, texts[turn%len(texts)])
		return err
	})
}

// measure reports the time on a CPU beside that of the clock: it is what a busy machine disturbs least, and the
// collector's share is in it.
func measure(b *testing.B, once func() error) {
	b.ReportAllocs()
	b.SetBytes(1024)
	before := onCPU(b)
	for b.Loop() {
		if err := once(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(onCPU(b)-before)/float64(b.N), "cpu-ns/op")
}

func onCPU(b *testing.B) (nanoseconds int64) {
	b.Helper()
	var spent unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &spent); err != nil {
		b.Fatal(err)
	}
	return spent.Utime.Nano() + spent.Stime.Nano()
}
