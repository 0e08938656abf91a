package kmsv1_test

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/encryption/kmsv1"
	"github.com/keepgate/keepgate/e2e/kmsplugin"
	"github.com/keepgate/keepgate/shared/kmsclient"
	"github.com/keepgate/keepgate/shared/secret"
)

// followed is a provider over a socket whose plugin is proven again with each connection, as a control plane node does it.
func followed(t *testing.T, endpoint string, o kmsv1.Options) (p *kmsv1.Provider, proofs *atomic.Int64) {
	t.Helper()
	anew, proofs := make(chan struct{}, 1), new(atomic.Int64)
	client, err := kmsclient.NewV1(kmsclient.Options{Name: "prov", Endpoint: endpoint, Timeout: 10 * time.Second, Connected: func() {
		select {
		case anew <- struct{}{}:
		default:
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if p, err = kmsv1.New("prov", client, o); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	t.Cleanup(func() { stop(); <-ended; _ = client.Close() })
	go func() {
		defer close(ended)
		for {
			_ = p.Prove(ctx)
			proofs.Add(1)
			select {
			case <-anew:
			case <-ctx.Done():
				return
			}
		}
	}()
	return p, proofs
}

// A plugin that is exchanged behind its socket writes nothing, also not the first value after that; one that was started again does, at once.
// What is read goes on, and nobody is asked for a proof but where there is a new connection.
func TestAPluginThatIsExchangedBehindItsSocket(t *testing.T) {
	t.Parallel()
	plugin, stranger := kmsplugin.Start(t, t.TempDir()), kmsplugin.Start(t, t.TempDir())
	text := sealed(t, over(t, plugin, patience, kmsv1.Options{}), "secret")
	o := resting([]kmsv1.Sample{{Place: home, Text: text}})
	o.Pause = 30 * time.Second // for a proof; a plugin is left alone no longer than it is away here
	p, proofs := followed(t, plugin.Endpoint(), o)
	for deadline := time.Now().Add(30 * time.Second); p.Proven() != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(p.Proven())
		}
	}
	wantOpen(t, p, text, "secret")
	before := proofs.Load()
	for range 20 {
		sealed(t, p, "x")
	}
	if n := proofs.Load(); n > before+1 {
		t.Errorf("%d proofs for 20 values over one connection", n-before)
	}

	met := func() { // a call on the connection before may break
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); p.Check(t.Context()) != nil; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("no plugin answers")
			}
		}
	}
	plugin.Restart()
	met()
	wantWrites(t, p, true)

	plugin.Kill()
	if err := os.Rename(stranger.Socket(), plugin.Socket()); err != nil {
		t.Fatal(err)
	}
	if text, err := p.Seal(home, "x"); err == nil {
		t.Errorf("the first value after that is written: %s", text)
	}
	met()
	wantWrites(t, p, false)
	if !errors.Is(p.Proven(), kmsv1.ErrForeign) {
		t.Errorf("by another plugin behind the socket: Proven = %v", p.Proven())
	}
	wantOpen(t, p, text, "secret")

	if err := os.Remove(plugin.Socket()); err != nil {
		t.Fatal(err)
	}
	stranger.Kill()
	plugin.Start()
	met() // somebody asks now and then how it is
	for deadline := time.Now().Add(30 * time.Second); p.Proven() != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the plugin is back: Proven = %v", p.Proven())
		}
	}
	wantWrites(t, p, true)
}

// changing is a plugin that another one takes the place of while it is called.
type changing struct {
	link atomic.Uint64
	asks atomic.Int64
}

func (c *changing) Encrypt(context.Context, secret.Bytes) ([]byte, error) {
	c.link.Add(1)
	c.asks.Add(1)
	return []byte{1}, nil
}

func (*changing) Decrypt(context.Context, []byte) (secret.Bytes, error) {
	return secret.Bytes{}, errors.New("not mine")
}

func (c *changing) Link() uint64 { return c.link.Load() }

// What was wrapped while the plugin was exchanged may be another one's: it is never written, and a call does not follow for ever.
func TestAPluginThatIsExchangedWhileItIsCalled(t *testing.T) {
	t.Parallel()
	plugin := &changing{}
	p, err := kmsv1.New("prov", plugin, kmsv1.Options{Samples: func(context.Context) ([][]kmsv1.Sample, error) { return nil, nil }})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Prove(t.Context()); err != nil { // nothing rests
		t.Fatal(err)
	}
	_, err = p.Seal(home, "x")
	wantAbsent(t, err)
	if n := plugin.asks.Load(); n != 3 || p.Proven() == nil {
		t.Errorf("%d calls, Proven = %v", n, p.Proven())
	}
	if err := p.Await(); err != nil { // it stays, and nothing rests that it would have to open
		t.Error(err)
	}
}
