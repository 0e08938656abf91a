package admin_test

import (
	"strings"
	"testing"
)

// Vaults are kept as they are given; whoever refers to one is not asked whether it is there, since a data plane may know it alone.
func TestVaultEntities(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	made := e.do("PUT", "/vaults/team", jsonType, `{"name":"hcv","config":{"host":"vault.test","token":"canary-token-81f2","kv":"v2"}}`)
	if made.status != 200 && made.status != 201 {
		t.Fatalf("%d %s", made.status, made.text)
	}
	vault := e.get("/vaults/team").tree(t)
	config := vault["config"].(map[string]any)
	if vault["prefix"] != "team" || config["token"] != "canary-token-81f2" || config["kv"] != "v2" {
		t.Errorf("the vault: %v", vault)
	}
	if stored := e.raw("vaults", id(vault), "body"); strings.Contains(stored, "canary-token-81f2") || !strings.Contains(stored, "vault.test") {
		t.Errorf("the database holds %s", stored)
	}
	if a := e.do("PATCH", "/vaults/team", jsonType, `{"config":{"token":"{vault://env/vault-token}"}}`); a.status != 200 ||
		a.tree(t)["config"].(map[string]any)["token"] != "{vault://env/vault-token}" {
		t.Errorf("a reference as a token: %d %s", a.status, a.text)
	}
	for body, want := range map[string]string{
		`{"name":"env","prefix":"env"}`: "must not be one of", `{"name":"env","prefix":"team","config":{}}`: "UNIQUE violation", `{"name":"env","prefix":"x1","config":{"host":"h"}}`: "unknown field",
		`{"name":"hcv","prefix":"x1","config":{"token":"{vault://env/s3cret"}}`: "does not end",
	} {
		if a := e.do("POST", "/vaults", jsonType, body); a.status/100 != 4 || !strings.Contains(a.text, want) || strings.Contains(a.text, "s3cret") {
			t.Errorf("%s: %d %s", body, a.status, a.text)
		}
	}
	certificate := e.do("POST", "/certificates", jsonType, `{"cert":"{vault://unknown/tls/cert}","key":"{vault://unknown/tls/key}"}`)
	if certificate.status != 201 || certificate.tree(t)["key"] != "{vault://unknown/tls/key}" {
		t.Errorf("a certificate of references: %d %s", certificate.status, certificate.text)
	}
	if a := e.do("DELETE", "/vaults/team", "", ""); a.status != 204 {
		t.Errorf("delete: %d %s", a.status, a.text)
	}
}

func TestVaultSchemas(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for kind, members := range map[string]string{"env": `"prefix"`, "file": `"neg_ttl"`, "hcv": `"kube_role"`} {
		a := e.get("/schemas/vaults/" + kind)
		if a.status != 200 || !strings.Contains(a.text, members) || strings.Contains(a.text, `"host"`) != (kind == "hcv") || a.tree(t)["name"] != kind {
			t.Errorf("%s: %d %s", kind, a.status, a.text)
		}
	}
	if a := e.get("/schemas/vaults/aws"); a.status != 404 || a.text != `{"message":"No vault named 'aws'"}` {
		t.Errorf("%d %s", a.status, a.text)
	}
	for body, want := range map[string]string{
		`{"name":"env","prefix":"x1","config":{}}`: `{"message":"schema validation successful"}`, `{"name":"aws","prefix":"x1","config":{}}`: "expected one of: env, file, hcv",
	} {
		if a := e.do("POST", "/schemas/vaults/validate", jsonType, body); !strings.Contains(a.text, want) || (a.status == 200) != strings.HasPrefix(want, "{") {
			t.Errorf("%s: %d %s", body, a.status, a.text)
		}
	}
}
