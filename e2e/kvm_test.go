package e2e_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
)

// Values of key-value maps are sealed in the database and on data planes, reach the data planes that need them and no
// others, and follow a change within one update; the narrowest map of a name is taken.
func TestKeyValueMaps(t *testing.T) {
	t.Parallel()
	c, db, upstream := harness.New(t), postgresDatabase(t), harness.NewUpstream(t)
	cp := c.ControlPlane("cp", append(db.flags, "--keyring-strategy", "local")...)
	cp.Start()
	admin := cp.Admin()
	made := func(path string, body harness.Document) harness.Document {
		t.Helper()
		return admin.Do(201, http.MethodPost, path, body)
	}
	made("/environments", harness.Document{"name": "prod"})
	made("/environments", harness.Document{"name": "test"})
	made("/services", harness.Document{"name": "s", "url": upstream.URL})
	made("/services/s/routes", harness.Document{"name": "r", "paths": []string{"/r"}})
	made("/services/s/routes", harness.Document{"name": "own", "paths": []string{"/own"}})
	lookup := harness.Document{"map": "settings", "key_from": "header", "key_name": "x-key", "header": "x-value"}
	for _, route := range []string{"r", "own"} {
		made("/routes/"+route+"/plugins", harness.Document{"name": "kvm-lookup", "config": lookup})
	}
	made("/routes/r/plugins", harness.Document{"name": "request-transformer", "config": harness.Document{
		"add": harness.Document{"headers": []string{"x-fixed:{kvm://settings/token}"}},
	}})
	values := map[string]string{}
	for _, scope := range []string{"organisation", "prod", "test", "own"} {
		values[scope] = "canary-value-of-" + scope + "-77aa01"
	}
	paths := map[string]string{
		"organisation": "/key-value-maps", "prod": "/environments/prod/key-value-maps", "test": "/environments/test/key-value-maps", "own": "/routes/own/key-value-maps",
	}
	entries := map[string]string{}
	for scope, path := range paths {
		entries[scope] = "/key-value-maps/" + made(path, harness.Document{"name": "settings"})["id"].(string) + "/entries"
		made(entries[scope], harness.Document{"key": "token", "value": values[scope]})
	}
	made("/key-value-maps/settings/entries", harness.Document{"key": "a/b c", "value": "everywhere"})
	made("/key-value-maps", harness.Document{"name": "unused"})
	made("/key-value-maps/unused/entries", harness.Document{"key": "token", "value": "canary-value-that-nobody-needs"})

	rows := strings.Join(db.column(t, cp, "select value from key_value_entries"), "\n")
	for scope, value := range values {
		if strings.Contains(rows, value) {
			t.Errorf("the value of %s lies in the database", scope)
		}
	}
	if strings.Count(rows, "$ke$1$-") != 6 {
		t.Errorf("%d values are sealed, want 6", strings.Count(rows, "$ke$1$-"))
	}

	c.Found(cp)
	gates := map[string]*harness.DataPlane{}
	for _, environment := range []string{"prod", "test"} {
		gates[environment] = c.Joined("edge-"+environment, environment, cp)
		gates[environment].Start()
	}
	value := func(environment, path, key string) (looked, fixed string) {
		t.Helper()
		seen := harness.EchoOf(t, gates[environment].Await(200, path, "x-key", key, "x-value", "forged"))
		return seen.Header.Get("X-Value"), seen.Header.Get("X-Fixed")
	}
	for environment := range gates {
		if looked, fixed := value(environment, "/r", "token"); looked != values[environment] || fixed != values[environment] {
			t.Errorf("%s: the upstream got %q and %q", environment, looked, fixed)
		}
		if looked, _ := value(environment, "/own", "token"); looked != values["own"] {
			t.Errorf("%s: the route's own map gave %q", environment, looked)
		}
		for _, key := range []string{"no such key", "a/b c"} { // the organisation's map of that name has the second
			if answer := gates[environment].MustGet("/r", "x-key", key); answer.Status != 404 {
				t.Errorf("%s: a key that is not there: %d", environment, answer.Status)
			}
		}
		other := map[string]string{"prod": "test", "test": "prod"}[environment]
		for _, secret := range []string{values[other], "canary-value-that-nobody-needs"} {
			if where := gates[environment].Memory(secret); where != "" {
				t.Errorf("%s holds %q in memory: %s", environment, secret, where)
			}
		}
		for _, secret := range values {
			if where := harness.FindSecret(t, gates[environment].Prefix, secret); where != "" {
				t.Errorf("a value lies on the disk of %s: %s", environment, where)
			}
		}
	}

	admin.Do(200, http.MethodPatch, entries["prod"]+"/token", harness.Document{"value": "canary-value-after-it-0f3b"})
	harness.Eventually(t, "the changed value", func() string {
		looked, fixed := value("prod", "/r", "token")
		if looked != "canary-value-after-it-0f3b" || fixed != looked {
			return looked + " " + fixed
		}
		return ""
	})
	cp.Stop()
	gates["prod"].Kill()
	gates["prod"].Start()
	if looked, _ := value("prod", "/r", "token"); looked != "canary-value-after-it-0f3b" {
		t.Errorf("after a restart without a control plane: %q", looked)
	}
	cp.Start()
	admin.Do(200, http.MethodGet, "/key-value-maps/settings/entries/"+url.PathEscape("a/b c"), nil)
	if answer, err := admin.Try(http.MethodDelete, entries["prod"]+"/token", nil); err != nil || answer.Status != 204 {
		t.Fatalf("%d %v", answer.Status, err)
	}
	harness.Eventually(t, "the entry gone", func() string {
		answer := gates["prod"].MustGet("/r", "x-key", "token")
		if answer.Status != 503 && answer.Status != 404 { // the transformer's reference leads nowhere now
			return answer.Body
		}
		return ""
	})
	c.NoSecretInLogs(append([]string{"canary-value-after-it-0f3b"}, values["prod"], values["test"], values["own"], values["organisation"])...)
}
