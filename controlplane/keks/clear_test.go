package keks_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/keks"
	"github.com/keepgate/keepgate/controlplane/reencrypt"
	"github.com/keepgate/keepgate/shared/fault"
)

// inClear has the node write secrets in clear from now on, as keyring_decrypt_all does.
func (n *node) inClear() {
	n.t.Helper()
	chains := encryption.FromSettings(n.ring, encryption.Options{Decrypt: true})
	chains.Guard("keks", encryption.IdentityUnless(keks.Sealed))
	if err := n.cipher.Swap(n.t.Context(), chains); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) document() string { return n.raw("select id, name, document, body from keks")[2] }

// ended runs a re-encryption to its end.
func (n *node) ended() reencrypt.Progress {
	n.t.Helper()
	job := reencrypt.New(n.store, n.catalog, n.cipher, "node-1", reencrypt.Options{})
	if _, err := job.Start(n.t.Context(), reencrypt.Request{}); err != nil {
		n.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(n.t.Context(), patience)
	ended := make(chan error, 1)
	go func() { ended <- job.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	for {
		p, _, err := job.Progress(n.t.Context())
		if err != nil || ctx.Err() != nil {
			n.t.Fatalf("%+v, %v", p, err)
		}
		if p.State == reencrypt.Done || p.State == reencrypt.Failed {
			return p
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Where all secrets are to be left in clear, the keys of KEKs are not: neither a re-encryption nor a change does that.
// Of a KEK that has ended nothing is secret.
func TestKeysNeverRestInClear(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	if err := n.catalog.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := n.create("prod")
	n.rotate("prod")
	n.inClear()
	_, err := n.keks.Rotate(t.Context(), "prod")
	wants(t, err, fault.Denied)
	wants(t, n.keks.Retire(t.Context(), "prod", first.KeyID, true), fault.Denied)
	wants(t, n.keks.SetRotateEvery(t.Context(), "prod", keks.MinRotateEvery), fault.Denied)
	if p := n.ended(); p.State != reencrypt.Failed || !strings.Contains(p.Reason, "never rest in clear") {
		t.Errorf("the re-encryption is %+v", p)
	}
	if !strings.HasPrefix(n.document(), "$ke$1$-") {
		t.Fatal("the row rests in clear")
	}
	if err := n.keks.End(t.Context(), "prod"); err != nil {
		t.Fatal(err)
	}
	if p := n.ended(); p.State != reencrypt.Done {
		t.Errorf("the re-encryption is %+v", p)
	}
	if document := n.document(); strings.HasPrefix(document, "$ke$") || strings.Contains(document, "material") {
		t.Errorf("the row rests as %s", document)
	}
}

// Keys that lie in clear are somebody else's, also where plaintext is read.
func TestKeysInClearAreNotBelieved(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.create("prod")
	document, err := keks.Forge("prod")
	if err != nil {
		t.Fatal(err)
	}
	n.inClear()
	n.exec(`update keks set document = ?`, document)
	_, _, err = n.beside().keks.Wrap(t.Context(), prod, keks.Use{Name: "prod"}, []byte("seed"))
	wants(t, err, fault.Unavailable)
}
