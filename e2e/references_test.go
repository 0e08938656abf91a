package e2e_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
	"github.com/keepgate/keepgate/shared/vaultclient/vaulttest"
)

// References are resolved on the data plane that uses them, follow a change without a reload, outlive their vault, and
// the control plane never learns what they lead to.
func TestSecretReferences(t *testing.T) {
	t.Parallel()
	c, upstream := harness.New(t), harness.NewUpstream(t)
	vault := vaulttest.Start(t)
	secrets := map[string]string{}
	for _, kind := range []string{"env", "file", "hcv"} {
		secrets[kind] = "canary-secret-in-" + kind + "-41be90"
	}
	folder := filepath.Join(c.Folder, "secrets")
	writeFile(t, filepath.Join(folder, "api", "token"), secrets["file"]+"\n")
	vault.Put("apis/one", map[string]string{"token": secrets["hcv"]})

	cp := c.ControlPlane("cp")
	cp.Start()
	admin := cp.Admin()
	admin.Do(201, http.MethodPost, "/services", harness.Document{"name": "s", "url": upstream.URL})
	admin.Do(200, http.MethodPut, "/vaults/shop", harness.Document{"name": "env", "config": harness.Document{"prefix": "shop-"}})
	references := map[string]string{"env": "{vault://shop/token}", "file": "{vault://file/api/token}", "hcv": "{vault://hcv/apis/one/token}"}
	for kind, reference := range references {
		admin.Do(201, http.MethodPost, "/services/s/routes", harness.Document{"name": kind, "paths": []string{"/" + kind}})
		admin.Do(201, http.MethodPost, "/routes/"+kind+"/plugins", harness.Document{"name": "request-transformer", "config": harness.Document{
			"add": harness.Document{"headers": []string{"x-secret:" + reference}},
		}})
	}
	host, port, _ := strings.Cut(strings.TrimPrefix(vault.URL, "https://"), ":")
	dp := c.DataPlane("edge", cp, "--vault-env-prefix", "GATE_", "--vault-file-folder", folder, "--vault-ttl", "1s",
		"--vault-hcv-host", host, "--vault-hcv-port", port, "--vault-hcv-kv", "v2", "--vault-hcv-ttl", "1s",
		"--ssl-trusted-certificate", vault.CAFile)
	dp.Env = append(dp.Env, "GATE_SHOP_TOKEN="+secrets["env"], "SHOP_TOKEN=out-of-reach", "KEEPGATE_VAULT_HCV_TOKEN="+vault.Root)
	dp.Start()
	sent := func(kind, want string) {
		t.Helper()
		harness.Eventually(t, "the secret of "+kind, func() string {
			answer := dp.MustGet("/" + kind)
			if answer.Status != 200 {
				return answer.Body
			}
			if got := harness.EchoOf(t, answer).Header.Get("X-Secret"); got != want {
				return "another value"
			}
			return ""
		})
	}
	for kind, secret := range secrets {
		sent(kind, secret)
	}

	writeFile(t, filepath.Join(folder, "api", "token"), "canary-of-a-new-file-5522ab")
	sent("file", "canary-of-a-new-file-5522ab")
	vault.Put("apis/one", map[string]string{"token": "canary-of-a-new-version-1c9d"})
	sent("hcv", "canary-of-a-new-version-1c9d")
	vault.Seal(true)
	admin.Do(201, http.MethodPost, "/services/s/routes", harness.Document{"name": "another", "paths": []string{"/another"}})
	dp.Await(200, "/another") // a vault that is sealed holds no update up
	sent("hcv", "canary-of-a-new-version-1c9d")
	dp.Kill()
	dp.Start()
	dp.Await(200, "/another")
	sent("file", "canary-of-a-new-file-5522ab")
	vault.Seal(false)
	sent("hcv", "canary-of-a-new-version-1c9d")

	all := []string{"canary-of-a-new-file-5522ab", "canary-of-a-new-version-1c9d", secrets["env"], secrets["file"], secrets["hcv"], vault.Root}
	for _, secret := range all {
		if where := cp.Memory(secret); where != "" {
			t.Errorf("the control plane holds a secret that a reference leads to: %s", where)
		}
		if where := harness.FindSecret(t, cp.Prefix, secret); where != "" {
			t.Errorf("it is on the control plane's disk: %s", where)
		}
		if where := harness.FindSecret(t, dp.Prefix, secret); where != "" {
			t.Errorf("it is on the data plane's disk: %s", where)
		}
	}
	c.NoSecretInLogs(all...)
}
