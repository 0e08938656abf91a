package e2e_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
	"github.com/keepgate/keepgate/shared/kmsclient"
	"github.com/keepgate/keepgate/shared/secret"
)

// The scenarios with a Kubernetes API server are in e2e/kubernetes.

// kek runs `keepgate-cp kek` at a node.
func kek(c *harness.Cluster, cp *harness.ControlPlane, args ...string) string {
	c.T.Helper()
	return c.CP(append(append([]string{"kek"}, args...), "--admin-url", "http://"+cp.Listen)...)
}

// currentKey is the id of a KEK's current key.
func currentKey(cp *harness.ControlPlane) string {
	id, _ := cp.Admin().Do(200, http.MethodGet, "/kms/keys/prod", nil)["key_id"].(string)
	return id
}

// awaitPlugin returns when a plugin's status says so.
func awaitPlugin(t *testing.T, k *harness.KMS, says ...string) {
	t.Helper()
	harness.Eventually(t, fmt.Sprint(k.Name, " saying ", says), func() string {
		answer, err := harness.Get("http://" + k.Status + "/status")
		if err != nil {
			return err.Error()
		}
		if slices.ContainsFunc(says, func(one string) bool { return !strings.Contains(answer.Body, one) }) {
			return answer.Body
		}
		return ""
	})
}

func isCurrent(id string) string { return fmt.Sprintf(`"state":"ok","current":%q`, id) }

// apiServer asks a plugin as an API server does.
type apiServer struct {
	t    *testing.T
	two  *kmsclient.V2
	seed secret.Bytes
}

func askingOf(t *testing.T, endpoint string) *apiServer {
	t.Helper()
	two, err := kmsclient.NewV2(kmsclient.Options{Name: "keepgate", Endpoint: endpoint, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = two.Close() })
	return &apiServer{t, two, secret.Take([]byte("canary-seed-of-the-api-server-32"))}
}

// encrypt returns an error, or what was encrypted under the key that the status named.
func (a *apiServer) encrypt() (kmsclient.Wrapped, error) {
	status, err := a.two.Status(a.t.Context())
	if err != nil {
		return kmsclient.Wrapped{}, err
	}
	wrapped, err := a.two.Encrypt(a.t.Context(), a.seed)
	if err == nil && wrapped.KeyID != status.KeyID {
		err = fmt.Errorf("key %s after a status of %s", wrapped.KeyID, status.KeyID)
	}
	return wrapped, err
}

func (a *apiServer) decrypt(wrapped kmsclient.Wrapped) error {
	opened, err := a.two.Decrypt(a.t.Context(), wrapped)
	if err == nil && !opened.Equal(a.seed) {
		err = fmt.Errorf("it decrypts to something else")
	}
	return err
}

// awaitEncrypt returns what was encrypted once that works.
func (a *apiServer) awaitEncrypt() (wrapped kmsclient.Wrapped) {
	a.t.Helper()
	harness.Eventually(a.t, "an encryption", func() (wrong string) {
		var err error
		if wrapped, err = a.encrypt(); err != nil {
			return err.Error()
		}
		return ""
	})
	return wrapped
}

// awaitKeys returns when a node holds the keyring's keys.
func awaitKeys(t *testing.T, cp *harness.ControlPlane) {
	t.Helper()
	harness.Eventually(t, "the keys of "+cp.Name, func() string {
		if _, active, state := ring(t, cp); state != "ready" || active == "" {
			return state
		}
		return ""
	})
}

// A plugin at two nodes of a control plane lives through the end of either, through its own death, through the renewal of its
// certificate, and not through its revocation.
func TestAKMSPluginAtTwoNodes(t *testing.T) {
	t.Parallel()
	db, c := postgresDatabase(t), harness.New(t)
	one, two := c.Node("cp-1", db.flags...), c.Node("cp-2", db.flags...)
	one.Start()
	two.Start()
	kek(c, one, "create", "prod")
	awaitKeys(t, two)
	plugin := c.KMS("prod.master-1", []*harness.ControlPlane{one, two})
	plugin.Start()
	awaitPlugin(t, plugin, isCurrent(currentKey(one)))
	api := askingOf(t, plugin.Endpoint())
	first := api.awaitEncrypt()

	one.Kill()
	if err := api.decrypt(api.awaitEncrypt()); err != nil {
		t.Errorf("with one node left: %v", err)
	}
	kek(c, two, "rotate", "prod")
	awaitPlugin(t, plugin, isCurrent(currentKey(two)))
	second := api.awaitEncrypt()
	if second.KeyID == first.KeyID {
		t.Errorf("after the rotation %s is still current", first.KeyID)
	}
	one.Start()
	awaitKeys(t, one)
	two.Kill()
	for _, wrapped := range []kmsclient.Wrapped{first, second, api.awaitEncrypt()} {
		if err := api.decrypt(wrapped); err != nil {
			t.Errorf("at the other node: %v", err)
		}
	}
	two.Start()

	plugin.Kill() // its socket file stays behind
	if _, err := os.Lstat(plugin.Socket); err != nil {
		t.Error(err)
	}
	plugin.Start()
	if err := api.decrypt(api.awaitEncrypt()); err != nil {
		t.Errorf("after a kill: %v", err)
	}

	c.CP("certs", "renew", c.Cert("prod.master-1.crt"), "--dir", c.Certs())
	if err := plugin.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	plugin.AwaitLog("reloaded")
	if err := api.decrypt(api.awaitEncrypt()); err != nil {
		t.Errorf("after a renewal: %v", err)
	}
	c.CP("certs", "revoke", "prod.master-1", "--role", "kms", "--dir", c.Certs())
	harness.Eventually(t, "the end of a revoked plugin", func() string {
		if _, err := api.encrypt(); err == nil {
			return "it encrypts"
		}
		if err := api.decrypt(first); err == nil {
			return "it decrypts"
		}
		return ""
	})
	awaitPlugin(t, plugin, `"state":"lost"`)
	c.NoSecretInLogs("canary-seed-of-the-api-server-32")
}

// What keepgate-kms of one control plane wraps, another control plane is encrypted by: our own provider chain is as good a
// client of it as an API server.
func TestAControlPlaneEncryptedByAnother(t *testing.T) {
	t.Parallel()
	keeper := harness.New(t)
	keys := keeper.ControlPlane("cp")
	keys.Start()
	kek(keeper, keys, "create", "prod")
	plugin := keeper.KMS("prod", []*harness.ControlPlane{keys})
	plugin.Start()
	awaitPlugin(t, plugin, isCurrent(currentKey(keys)))

	db, c := sqliteDatabase(t), harness.New(t)
	file := newProviders(t, fmt.Sprintf("- kms: {apiVersion: v2, name: keepgate, endpoint: '%s', timeout: 10s}", plugin.Endpoint()))
	cp := c.ControlPlane("cp", append(db.flags, "--keyring-enabled=off", file.flag())...)
	cp.Start()
	cp.Admin().Do(201, http.MethodPost, "/consumers", harness.Document{"username": "bob"})
	harness.Eventually(t, "the first seed", func() string {
		if answer := write(t, cp, "canary-kms-one"); answer.Status != 201 {
			return answer.Body
		}
		return ""
	})
	const stored = "k8s:enc:kms:v2:keepgate:"
	db.all(t, cp, 1, stored)
	former := currentKey(keys)
	kek(keeper, keys, "rotate", "prod")
	awaitPlugin(t, plugin, isCurrent(currentKey(keys)))
	count := 0
	harness.Eventually(t, "a seed under the new key", func() string {
		_, _ = asks(t, cp)
		count++
		made(t, write(t, cp, fmt.Sprint("canary-more-", count)))
		seeds := map[string]bool{}
		for _, value := range db.column(t, cp, "select key from keyauth_credentials where key is not null") {
			seeds[strings.TrimPrefix(value, stored)[:8]] = true // the seed's id, which begins what is sealed
		}
		if len(seeds) < 2 {
			return fmt.Sprint("all is under ", seeds)
		}
		return ""
	})
	made(t, write(t, cp, "canary-kms-two"))
	reencrypt(t, cp, url.Values{})
	settled(t, cp)
	keeper.CP("kek", "retire", "prod", former, "--unused", "--early", "--admin-url", "http://"+keys.Listen)
	cp.Kill()
	plugin.Kill()
	keys.Kill()
	cp.Start() // without anybody that could open it
	keys.Start()
	plugin.Start()
	harness.Eventually(t, "what was sealed by a plugin that was away", func() string {
		_, _ = asks(t, cp)
		answer, err := cp.Admin().Try(http.MethodGet, "/consumers/bob/key-auth/canary-kms-two", nil)
		if err != nil || answer.Status != 200 {
			return fmt.Sprint(answer.Body, err)
		}
		return ""
	})
	answers(t, cp, "canary-kms-one", "canary-kms-two")
	keeper.NoSecretInLogs("canary-kms-one", "canary-kms-two")
	c.NoSecretInLogs("canary-kms-one", "canary-kms-two")
}

// The commands say what is there, what is wrong, and what mends it.
func TestCommandsOfTheKMSPlugin(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	cp := c.ControlPlane("cp")
	cp.Start()
	address := "unix:///@" + filepath.Base(c.Folder)
	plugin := c.KMS("prod.master-1", []*harness.ControlPlane{cp}, "--kms-listen", address, "--kms-v1=on")
	if output, err := plugin.Command("check"); err != nil || !strings.Contains(output, "kms_listen = "+address) {
		t.Errorf("check: %v\n%s", err, output)
	}
	if output, err := plugin.Command("doctor"); err == nil || !strings.Contains(output, "keepgate-cp kek create prod") || !strings.Contains(output, "nobody serves") {
		t.Errorf("doctor without a KEK: %v\n%s", err, output)
	}
	plugin.Start() // without a KEK: it serves, and heals
	awaitPlugin(t, plugin, `"state":"lost"`, "no KEK")
	if output, err := plugin.Command("health"); err == nil || !strings.Contains(err.Error(), "no KEK") {
		t.Errorf("health without a KEK: %v\n%s", err, output)
	}
	kek(c, cp, "create", "prod")
	awaitPlugin(t, plugin, isCurrent(currentKey(cp)), `"v1beta1"`)
	if output, err := plugin.Command("doctor"); err != nil || !strings.Contains(output, "a random secret") || !strings.Contains(output, "abstract socket") {
		t.Errorf("doctor: %v\n%s", err, output)
	}
	if output, err := plugin.Command("health"); err != nil || !strings.Contains(output, "and ready") {
		t.Errorf("health: %v\n%s", err, output)
	}
	if output, err := plugin.Command("reload"); err != nil {
		t.Errorf("reload: %v\n%s", err, output)
	}
	plugin.AwaitLog("abstract socket, which has no owner", "KMS v1 is served too", "reloaded")
	api := askingOf(t, address)
	wrapped := api.awaitEncrypt()
	if err := api.decrypt(wrapped); err != nil {
		t.Error(err)
	}
	wrapped.Ciphertext = bytes.Clone(wrapped.Ciphertext)
	wrapped.Ciphertext[len(wrapped.Ciphertext)-1] ^= 1
	if err := api.decrypt(wrapped); err == nil {
		t.Error("a changed ciphertext decrypts")
	}
	one, err := kmsclient.NewV1(kmsclient.Options{Name: "old", Endpoint: address, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	cipher, err := one.Encrypt(t.Context(), api.seed)
	if err != nil {
		t.Fatal(err)
	}
	if opened, err := one.Decrypt(t.Context(), cipher); err != nil || !opened.Equal(api.seed) {
		t.Errorf("version 1: %v", err)
	}
	other := c.KMS("edge", []*harness.ControlPlane{cp}, "--cluster-cert", c.Cert("control-plane.crt"), "--cluster-cert-key", c.Cert("control-plane.key"))
	if output, err := other.Command("check"); err == nil || !strings.Contains(err.Error(), "--role kms") {
		t.Errorf("check with a certificate of a control plane: %v\n%s", err, output)
	}
	foreign := c.KMS("other", []*harness.ControlPlane{cp}) // another KEK, which there is not
	foreign.Start()
	awaitPlugin(t, foreign, `"state":"lost"`, "no KEK")
	if _, err := askingOf(t, foreign.Endpoint()).encrypt(); err == nil {
		t.Error("a plugin encrypts without a KEK")
	}
}
