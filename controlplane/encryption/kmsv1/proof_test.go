package kmsv1_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/keepgate/keepgate/controlplane/encryption/kmsv1"
	"github.com/keepgate/keepgate/e2e/kmsplugin"
	"github.com/keepgate/keepgate/e2e/kmsplugin/control"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/kmsclient"
	"github.com/keepgate/keepgate/shared/secret"
)

// socket is a way to one plugin after another, as when they take each other's place behind it.
type socket struct {
	plugin atomic.Pointer[kmsclient.V1]
	led    atomic.Uint64
}

func (s *socket) Encrypt(ctx context.Context, plaintext secret.Bytes) ([]byte, error) {
	return s.plugin.Load().Encrypt(ctx, plaintext)
}

func (s *socket) Decrypt(ctx context.Context, wrapped []byte) (secret.Bytes, error) {
	return s.plugin.Load().Decrypt(ctx, wrapped)
}

func (s *socket) Link() uint64 { return s.plugin.Load().Link() + s.led.Load()<<32 }

func (s *socket) leadTo(t *testing.T, p *kmsplugin.Plugin) {
	t.Helper()
	client, err := kmsclient.NewV1(kmsclient.Options{Name: "prov", Endpoint: p.Endpoint(), Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	s.plugin.Store(client)
	s.led.Add(1)
}

func resting(tables ...[]kmsv1.Sample) kmsv1.Options {
	return kmsv1.Options{Endpoint: "unix:///the.sock", Samples: func(context.Context) ([][]kmsv1.Sample, error) { return tables, nil }}
}

// wantWrites checks whether anything is written by p; reads are tried in any case.
func wantWrites(t *testing.T, p *kmsv1.Provider, writes bool) {
	t.Helper()
	text, err := p.Seal(home, "x")
	_, markErr := p.Mark()
	if (err == nil) != writes || (markErr == nil) != writes || (p.Proven() == nil) != writes {
		t.Errorf("Seal = %q, %v; Mark: %v; Proven: %v; want it to write: %v", text, err, markErr, p.Proven(), writes)
	}
	if !writes {
		wantAbsent(t, err)
		wantAbsent(t, markErr)
	}
}

func TestAPluginThatIsAnotherWritesNothing(t *testing.T) {
	t.Parallel()
	plugin, stranger := kmsplugin.Start(t, t.TempDir()), kmsplugin.Start(t, t.TempDir())
	text := sealed(t, over(t, plugin, patience, kmsv1.Options{}), "secret")
	way := &socket{}
	way.leadTo(t, stranger)
	p, err := kmsv1.New("prov", way, resting([]kmsv1.Sample{{Place: home, Text: text}}))
	if err != nil {
		t.Fatal(err)
	}
	wantWrites(t, p, false) // not before it is known
	for range 2 {
		err = p.Prove(t.Context())
		if !errors.Is(err, kmsv1.ErrForeign) || !errors.Is(p.Proven(), kmsv1.ErrForeign) || fault.KindOf(err) != fault.Denied || fault.SubjectOf(err) != "kms/prov" {
			t.Errorf("Prove = %v, Proven = %v", err, p.Proven())
		}
		for _, says := range []string{"unix:///the.sock", home.Table, "keepgate-cp keyring reencrypt"} {
			if !strings.Contains(err.Error(), says) {
				t.Errorf("Prove = %v, which does not say %q", err, says)
			}
		}
		wantWrites(t, p, false)
	}
	way.leadTo(t, plugin)
	if err := p.Prove(t.Context()); err != nil {
		t.Errorf("Prove by the plugin that wrote it = %v", err)
	}
	wantWrites(t, p, true)
	wantOpen(t, p, text, "secret") // which is in the cache from now on

	way.leadTo(t, stranger)
	if err := p.Prove(t.Context()); !errors.Is(err, kmsv1.ErrForeign) {
		t.Errorf("Prove by another one in its place = %v", err)
	}
	wantWrites(t, p, false)
	wantOpen(t, p, text, "secret")
}

func TestWhatProvesAPlugin(t *testing.T) {
	t.Parallel()
	plugin, stranger := kmsplugin.Start(t, t.TempDir()), kmsplugin.Start(t, t.TempDir())
	mine := kmsv1.Sample{Place: home, Text: sealed(t, over(t, plugin, patience, kmsv1.Options{}), "secret")}
	other := kmsv1.Sample{Place: home, Text: sealed(t, over(t, stranger, patience, kmsv1.Options{}), "secret")}
	moved, spoiled := mine, mine
	moved.Place.Row, spoiled.Text = "another", mine.Text[:len(mine.Text)-8]
	table := func(samples ...kmsv1.Sample) []kmsv1.Sample { return samples }
	for name, test := range map[string]struct {
		tables [][]kmsv1.Sample
		proven bool
	}{
		"nothing rests":            {nil, true},
		"its own":                  {[][]kmsv1.Sample{table(mine)}, true},
		"one of several":           {[][]kmsv1.Sample{table(spoiled, moved, mine)}, true},
		"another's":                {[][]kmsv1.Sample{table(other)}, false},
		"another's in one table":   {[][]kmsv1.Sample{table(mine), table(other)}, false},
		"one that was moved":       {[][]kmsv1.Sample{table(moved)}, false},
		"one that was spoiled":     {[][]kmsv1.Sample{table(spoiled)}, false},
		"none of what is in there": {[][]kmsv1.Sample{table(spoiled, other, moved)}, false},
	} {
		p := over(t, plugin, patience, resting(test.tables...))
		if err := p.Check(t.Context()); err != nil { // the proof is of who was connected to
			t.Fatal(err)
		}
		if err := p.Prove(t.Context()); errors.Is(err, kmsv1.ErrForeign) == test.proven || (err == nil) != test.proven {
			t.Errorf("%s: Prove = %v", name, err)
		}
		wantWrites(t, p, test.proven)
	}
}

// What a plugin that is not well does not open proves nothing, and nor does a database that cannot be read.
func TestWhatProvesNothing(t *testing.T) {
	t.Parallel()
	plugin := kmsplugin.Start(t, t.TempDir())
	sample := []kmsv1.Sample{{Place: home, Text: sealed(t, over(t, plugin, patience, kmsv1.Options{}), "secret")}}
	unproven := func(p *kmsv1.Provider) {
		t.Helper()
		if err := p.Prove(t.Context()); err == nil || errors.Is(err, kmsv1.ErrForeign) || errors.Is(p.Proven(), kmsv1.ErrForeign) {
			t.Errorf("Prove = %v, Proven = %v", err, p.Proven())
		}
		wantWrites(t, p, false)
	}
	p := over(t, plugin, patience, resting(sample))
	plugin.Break(func(f *control.Faults) {
		f.Refuse[control.V1Decrypt] = control.Refusal{Code: uint32(codes.Internal), Message: "no HSM"}
	})
	unproven(p)
	plugin.Mend()
	if err := p.Prove(t.Context()); err != nil {
		t.Errorf("Prove = %v", err)
	}
	wantWrites(t, p, true)

	broken := errors.New("no database")
	lost := over(t, plugin, patience, kmsv1.Options{Samples: func(context.Context) ([][]kmsv1.Sample, error) { return nil, broken }})
	unproven(lost)
	if err := lost.Prove(t.Context()); !errors.Is(err, broken) {
		t.Errorf("Prove = %v", err)
	}
	plugin.Kill()
	unproven(over(t, plugin, brief, resting(sample)))
	if err := over(t, plugin, brief, resting()).Prove(t.Context()); err != nil {
		t.Errorf("Prove where nothing rests, by a plugin that is away = %v", err)
	}
}
