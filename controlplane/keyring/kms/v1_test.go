package kms_test

import (
	"context"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/keyring/kms"
	"github.com/keepgate/keepgate/shared/kmsclient"
	"github.com/keepgate/keepgate/shared/secret"
)

// older speaks version 1 for a plugin.
type older struct{ *plugin }

func (o older) Encrypt(ctx context.Context, plaintext secret.Bytes) ([]byte, error) {
	w, err := o.plugin.Encrypt(ctx, plaintext)
	return w.Ciphertext, err
}

func (o older) Decrypt(ctx context.Context, cipher []byte) (secret.Bytes, error) {
	return o.plugin.Decrypt(ctx, kmsclient.Wrapped{KeyID: "A", Ciphertext: cipher})
}

func newKeeper(p *plugin) *kms.Keeper {
	return kms.New(provider, p, kms.Options{Endpoint: "unix:///run/kms.sock"})
}

// TestV1 is well while bytes come back as they were wrapped, which is asked once a minute at most.
func TestV1(t *testing.T) {
	inTown(t, 1, func(t *testing.T, w *town) {
		p := w.nodes[0].plugin
		two := kms.V1(provider, older{p})
		for range 10 {
			if status, err := two.Status(t.Context()); err != nil || status.KeyID != "v1" {
				t.Fatalf("Status = %+v, %v", status, err)
			}
			time.Sleep(30 * time.Second)
		}
		if asked := p.called("Encrypt"); asked != 5 {
			t.Errorf("%d canaries in five minutes", asked)
		}
		for name, breaks := range map[string]func(p *plugin){
			"garbage": func(p *plugin) { p.garbage = true },
			"denied":  func(p *plugin) { p.deny = true },
			"wrong":   func(p *plugin) { p.answers = func(data []byte) []byte { return data[1:] } },
			"dead":    func(p *plugin) { p.dead = true },
		} {
			time.Sleep(time.Minute)
			p.set(breaks)
			if status, err := two.Status(t.Context()); err == nil || status.KeyID != "" {
				t.Errorf("%s: Status = %+v, %v", name, status, err)
			}
			p.set(func(p *plugin) { p.garbage, p.deny, p.answers, p.dead = false, false, nil, false })
		}
		keeper := kms.New(provider, two, kms.Options{})
		if err := keeper.Probe(t.Context()); err != nil {
			t.Fatal(err)
		}
		wrapped, err := keeper.Wrap(t.Context(), canary())
		if err != nil {
			t.Fatal(err)
		}
		if api, _, w, err := kms.Parse(wrapped); api != "v1" || w.KeyID != "v1" || err != nil {
			t.Errorf("wrapped by %s under %q, %v", api, w.KeyID, err)
		}
	})
}
