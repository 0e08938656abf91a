package vaulttest_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/hashicorp/vault/api"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/vaultclient"
	"github.com/keepgate/keepgate/shared/vaultclient/vaulttest"
)

// Vault's own client and ours see the same transit engine.
func TestTransit(t *testing.T) {
	t.Parallel()
	vaulttest.Each(t, func(t *testing.T, target vaulttest.Target) {
		theirs, mount := official(t, target, target.Token), "keepgate-"+uuid.NewString()
		if err := theirs.Sys().Mount(mount, &api.MountInput{Type: "transit"}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := theirs.Sys().Unmount(mount); err != nil {
				t.Error(err)
			}
		})
		if _, err := theirs.Logical().WriteWithContext(t.Context(), mount+"/keys/edge", nil); err != nil {
			t.Fatal(err)
		}
		client, err := vaultclient.New(vaultclient.Options{Address: target.Address, CAFile: target.CAFile})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		ours, err := client.WithToken(secret.Take([]byte(target.Token)))
		if err != nil {
			t.Fatal(err)
		}
		key := secret.Take([]byte("canary-canary-16"))
		sealed, err := ours.TransitEncrypt(t.Context(), mount, "edge", key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := theirs.Logical().WriteWithContext(t.Context(), mount+"/keys/edge/rotate", nil); err != nil {
			t.Fatal(err)
		}
		if opened, err := ours.TransitDecrypt(t.Context(), mount, "edge", sealed); err != nil || !opened.Equal(key) {
			t.Errorf("TransitDecrypt: %v", err)
		}
		answer, err := theirs.Logical().WriteWithContext(t.Context(), mount+"/decrypt/edge", map[string]any{"ciphertext": sealed})
		if err != nil || answer.Data["plaintext"] != "Y2FuYXJ5LWNhbmFyeS0xNg==" {
			t.Errorf("the official client reads %v, %v", answer, err)
		}
		for _, wrong := range []struct{ key, text string }{{"other", sealed}, {"edge", "vault:v1:AAAA"}, {"edge", "text"}} {
			if _, err := ours.TransitDecrypt(t.Context(), mount, wrong.key, wrong.text); fault.KindOf(err) != fault.Invalid {
				t.Errorf("TransitDecrypt(%s) = %v", wrong.text, err)
			}
		}
	})
}
