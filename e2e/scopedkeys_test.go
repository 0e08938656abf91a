package e2e_test

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/localkeys"
	"github.com/keepgate/keepgate/shared/mtls/privatekey"
)

// What a data plane keeps is sealed by the operator's keys, each class by its own; they are changed under way and by
// restarts, killed at any time, and never come to the control plane.
func TestScopedKeys(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	cp := c.ControlPlane("cp")
	cp.Start()
	configured := newClassed(t, cp, "default")
	file := filepath.Join(c.Folder, "keys.yaml")
	first := c.DP("keys", "generate")
	writeFile(t, file, first)
	cert, key := c.Enrol("edge")
	tap := c.NewTap(cp, cert, key)
	papers := []string{"--cluster-control-plane", tap.Address, "--cluster-cert", cert, "--cluster-cert-key", key, "--cluster-ca-cert", c.Cert("ca.crt"), "--encryption-keys", file}
	dp := c.DataPlaneWith("edge", cp, papers...)
	dp.Start()
	configured.serves(t, dp)
	configured.nowhere(t, dp, "under the first keys")
	used := keysOf(t, first)

	explain := func(what string) string {
		t.Helper()
		return c.DP(append([]string{"keys", "explain", what, "--prefix", dp.Prefix}, papers...)...)
	}
	if text := explain("key_value_entries"); !strings.Contains(text, "kvm") || strings.Contains(text, used[0]) {
		t.Errorf("keys explain says\n%s", text)
	}

	for round := range 6 { // while it runs, then killed at once, then while it is down
		next := c.DP("keys", "generate", "--bits", []string{"128", "192", "256"}[round%3])
		used = append(used, keysOf(t, next)...)
		if round%3 == 2 {
			dp.Stop()
		}
		writeFile(t, file, next)
		if round%3 == 1 {
			dp.Kill()
			configured.nowhere(t, dp, fmt.Sprint("killed in round ", round))
		}
		if round%3 != 0 {
			dp.Start()
		}
		configured.serves(t, dp)
		configured.nowhere(t, dp, fmt.Sprint("after round ", round))
	}
	writeFile(t, file, "envs:\n- name: default\nenvs:\n- name: default\n")
	dp.AwaitLog("encryption_keys")
	configured.serves(t, dp)

	var secrets []string
	for _, text := range used {
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, text, string(raw))
	}
	secrets = append(secrets, storeKeys(t, key)...)
	id, err := os.ReadFile(filepath.Join(dp.Prefix, "node.id"))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range secrets {
		if form := tap.Heard(strings.TrimSpace(string(id)), secret); form != "" {
			t.Errorf("a key was said on the stream, as %s", form)
		}
		if where := harness.FindSecret(t, cp.Prefix, secret); where != "" {
			t.Errorf("a key is on the control plane's disk: %s", where)
		}
		if where := cp.Memory(secret); where != "" {
			t.Errorf("a key is in the control plane's memory: %s", where)
		}
		if where := harness.FindSecret(t, dp.Prefix, secret); where != "" {
			t.Errorf("a key is on the data plane's disk: %s", where)
		}
		c.NoSecretInLogs(secret)
	}
}

// storeKeys are those that a node derives from its own private key: what all of them come of, and the one of each class.
func storeKeys(t *testing.T, file string) (keys []string) {
	t.Helper()
	const label = "keepgate/localkeys/1"
	root, err := privatekey.DeriveFile(file, "localstore", 32)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := localkeys.New(root)
	if err != nil {
		t.Fatal(err)
	}
	var extracted []byte
	root.Reveal(func(data []byte) {
		keys = append(keys, string(data))
		extracted, err = hkdf.Extract(sha256.New, data, []byte(label))
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, class := range []localkeys.Class{localkeys.Contract, localkeys.KMS, localkeys.KVM, localkeys.Cache, localkeys.Remembered} {
		purpose := fmt.Sprintf("%s/%v/%s", label, aead.AES256GCM, class)
		derived, keyErr := hkdf.Expand(sha256.New, extracted, purpose, aead.KeySize)
		id, idErr := hkdf.Expand(sha256.New, extracted, purpose+"/id", aead.KeySize)
		want, err := ring.KeyID(aead.AES256GCM, localkeys.Section{Class: class})
		if err = errors.Join(keyErr, idErr, err); err != nil || want != hex.EncodeToString(id[:len(want)/2]) {
			t.Fatalf("keys are not derived as this test believes: %v", err)
		}
		keys = append(keys, string(derived))
	}
	return keys
}

// A data plane that kept its configuration in clear seals all of it once it is told to, and strict refuses what is in clear.
func TestPlaintextIsSealedLater(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	cp := c.ControlPlane("cp")
	cp.Start()
	dp := c.DataPlane("edge", cp)
	dp.SetFlag("--declarative-config-encryption-mode", "off")
	dp.Launch()
	cp.AwaitLog("data plane linked") // so that what comes is in the journal, which is not compressed
	configured := newClassed(t, cp, "default")
	dp.AwaitReady()
	dp.AwaitLog("in clear")
	configured.serves(t, dp)
	if found := configured.somewhere(t, dp); len(found) != 4 {
		t.Fatalf("in clear lie %v: the search finds too little", found)
	}
	if where := harness.FindSecret(t, dp.Cache(), configured.secrets["cache"]); where != "" { // which is sealed always
		t.Errorf("what is cache lies in clear: %s", where)
	}
	dp.Stop()
	dp.SetFlag("--declarative-config-encryption-mode", "on")
	dp.SetFlag("--declarative-config-encryption-strict", "on")
	dp.Launch()
	dp.AwaitEnd()
	dp.AwaitLog("declarative_config_encryption_strict", "off")
	dp.SetFlag("--declarative-config-encryption-strict", "off")
	dp.SetFlag("--encryption-keys", writeFile(t, filepath.Join(c.Folder, "keys.yaml"), c.DP("keys", "generate")))
	cp.Stop()     // nothing comes anew: what is there is migrated
	for range 8 { // at any moment of that, and before and after
		dp.Launch()
		time.Sleep(rand.N(120 * time.Millisecond))
		dp.Kill()
	}
	dp.Start()
	configured.serves(t, dp)
	harness.Eventually(t, "nothing in clear", func() string {
		if found := configured.somewhere(t, dp); len(found) > 0 {
			return fmt.Sprint(found)
		}
		return ""
	})
	configured.nowhere(t, dp, "after the migration")
	dp.Kill()
	dp.SetFlag("--declarative-config-encryption-strict", "on")
	dp.Start()
	configured.serves(t, dp)
}
