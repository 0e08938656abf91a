package admin_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// Secrets in a plugin's configuration, below records and in maps too, rest sealed inside the row's body, are sealed anew with
// the others, and are nowhere in the journal of changes.
func TestSecretsOfPluginsRestSealed(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	release := e.reencrypting()
	logged := e.made("/plugins", `{"name":"http-log","config":{"http_endpoint":"https://user:CANARY-endpoint@log.example/","headers":{"X-Key":"CANARY-header"}}}`)
	limited := e.made("/plugins", `{"name":"rate-limiting","config":{"minute":5,"redis":{"host":"redis.example","password":"CANARY-redis"}}}`)
	if config := logged["config"].(map[string]any); config["http_endpoint"] != "https://user:CANARY-endpoint@log.example/" || config["headers"].(map[string]any)["X-Key"] != "CANARY-header" {
		t.Errorf("shown: %v", config)
	}
	sealed := func(active string) {
		t.Helper()
		for _, row := range []struct {
			id    string
			paths []string
		}{
			{id(logged), []string{"http_endpoint", "headers.X-Key"}}, {id(limited), []string{"redis.password"}},
		} {
			_, values, err := e.store.Raw(t.Context(), "plugins", row.id)
			if err != nil {
				t.Fatal(err)
			}
			if text := strings.Join(values, "\n"); strings.Contains(text, "CANARY") {
				t.Fatalf("a secret rests in clear: %s", text)
			}
			var body struct{ Config map[string]any }
			if err := json.Unmarshal([]byte(e.raw("plugins", row.id, "body")), &body); err != nil {
				t.Fatal(err)
			}
			for _, path := range row.paths {
				v := any(body.Config)
				for step := range strings.SplitSeq(path, ".") {
					v = v.(map[string]any)[step]
				}
				if text, _ := v.(string); !strings.HasPrefix(text, "$ke$1$-"+active+"-") {
					t.Errorf("config.%s rests as %q, want it under the key %s", path, text, active)
				}
			}
		}
	}
	first := e.get("/keyring").tree(t)["active"].(string)
	sealed(first)
	second, _, err := e.ring.Generate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := e.ring.Activate(t.Context(), second, false); err != nil {
		t.Fatal(err)
	}
	// Any write seals all of a row's secrets anew, those it does not touch too.
	if patched := e.patch("/plugins/"+id(limited), `{"config":{"minute":6}}`); patched.status != 200 {
		t.Fatal(patched.text)
	}
	if a := e.do("POST", "/keyring/reencrypt", "", ""); a.status/100 != 2 {
		t.Fatalf("%d %s", a.status, a.text)
	}
	release()
	e.awaitReencrypted(2) // the other plugin, and the environment
	sealed(second)
	for path, want := range map[string]string{"/plugins/" + id(logged): "CANARY-header", "/plugins/" + id(limited): "CANARY-redis"} {
		if a := e.get(path); !strings.Contains(a.text, want) {
			t.Errorf("%s after all that: %s", path, a.text)
		}
	}
	if a := e.get("/keyring/reencrypt"); strings.Contains(a.text, "CANARY") {
		t.Errorf("the job tells secrets: %s", a.text)
	}
	for body, message := range map[string]string{
		`{"name":"http-log","config":{"http_endpoint":"ftp://CANARY@x"}}`:                              "schema violation (config: http_endpoint is not a URL of http or https)",
		`{"name":"rate-limiting","config":{"minute":5,"redis":{"password":"CANARY","port":"CANARY"}}}`: "schema violation (config.redis.port: expected an integer)",
	} {
		if a := e.post("/plugins", body); a.status != 400 || a.tree(t)["message"] != message || strings.Contains(a.text, "CANARY") {
			t.Errorf("%d %s", a.status, a.text)
		}
	}
}
