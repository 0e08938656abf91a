package admin_test

import (
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/admin"
	"github.com/keepgate/keepgate/controlplane/admin/keys"
	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/cluster"
	"github.com/keepgate/keepgate/controlplane/keyring/keyringtest"
)

// Rows that nobody of the control plane proves are recovered for an operator who names them, and for nobody else.
func TestRecoveryOfWhatIsNotProven(t *testing.T) {
	t.Parallel()
	der, err := x509.MarshalPKIXPublicKey(testPrivate().Public())
	if err != nil {
		t.Fatal(err)
	}
	recovery, err := cluster.LoadRecoveryKey(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	if err != nil {
		t.Fatal(err)
	}
	e := newEnvWith(t, cluster.New(recovery), admin.Options{})
	e.made("/consumers", "username=bob")
	e.made("/consumers/bob/basic-auth", "username=bob&password=p")
	key := e.ring.Keys().Active
	e.ring, err = keyring.Open(t.Context(), e.store, cluster.New(recovery), keyringtest.Prover("stranger"), keyring.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e.keyroom(func(*keys.Deps) {})
	if state := e.states()[key]; state != "refused" {
		t.Fatalf("the key is %s", state)
	}
	listing := e.get("/keyring").text
	private := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(testPrivate())}))
	for _, step := range []struct {
		accept    string
		recovered string // the ids
		active    any
	}{
		{"", "", ""},
		{"Nowhere1", "", ""},
		{"Nowhere1, " + key, key, key},
	} {
		contentType, body := formats["multipart"](map[string]string{"recovery_private_key": private, "accept_unproven": step.accept})
		a := e.do("POST", "/keyring/recover", contentType, body)
		tree := a.tree(t)
		recovered := ""
		for _, id := range tree["recovered"].([]any) {
			recovered += id.(string)
		}
		if a.status != 200 || recovered != step.recovered || tree["active"] != step.active || strings.Contains(a.text, "PRIVATE") {
			t.Errorf("accepting %q: %d %s", step.accept, a.status, a.text)
		}
		reason, _ := tree["reasons"].(map[string]any)[key].(string)
		if refused := recovered == ""; refused != strings.Contains(reason, "accept_unproven") {
			t.Errorf("accepting %q gives the reason %q, which is to name the field", step.accept, reason)
		}
	}
	if !strings.Contains(listing, "accept_unproven="+key) {
		t.Errorf("the warnings do not say how to accept the key: %s", listing)
	}
	if state := e.states()[key]; state != "active" {
		t.Errorf("after the recovery the key is %s", state)
	}
}
