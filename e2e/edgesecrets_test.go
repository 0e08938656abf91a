package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
)

// classed is a configuration with one canary in each class of data that a data plane seals, and a way to have each used.
type classed struct {
	upstream *harness.Upstream
	secrets  map[string]string // by class
	asked    int               // how often for a response that was not kept yet
}

// newClassed writes the configuration. The environment is the data plane's.
func newClassed(t *testing.T, cp *harness.ControlPlane, environment string) *classed {
	t.Helper()
	c := &classed{upstream: harness.NewUpstream(t), secrets: map[string]string{}}
	for _, class := range []string{"contract", "kms", "kvm", "env-kvm", "cache"} {
		c.secrets[class] = "canary-of-class-" + class + "-8d1f03"
	}
	admin := cp.Admin()
	made := func(path string, body harness.Document) harness.Document {
		t.Helper()
		return admin.Do(201, http.MethodPost, path, body)
	}
	made("/services", harness.Document{"name": "s", "url": c.upstream.URL})
	for _, route := range []string{"contract", "kms", "token", "kvm", "env-kvm", "cache"} {
		made("/services/s/routes", harness.Document{"name": route, "paths": []string{"/" + route}})
	}
	made("/routes/contract/plugins", harness.Document{
		"name": "request-transformer", "config": harness.Document{"add": harness.Document{"headers": []string{"x-got:" + c.secrets["contract"]}}},
	})
	made("/routes/kms/plugins", harness.Document{"name": "basic-auth"})
	made("/consumers", harness.Document{"username": "ann"})
	made("/consumers/ann/jwt", harness.Document{"key": "ann", "secret": c.secrets["kms"]})
	made("/consumers/ann/basic-auth", harness.Document{"username": "ann", "password": "a-password"})
	made("/routes/token/plugins", harness.Document{"name": "jwt"})
	made("/key-value-maps", harness.Document{"name": "everywhere"})
	made("/key-value-maps/everywhere/entries", harness.Document{"key": "k", "value": c.secrets["kvm"]})
	here := made("/environments/"+environment+"/key-value-maps", harness.Document{"name": "here"})["id"].(string)
	made("/key-value-maps/"+here+"/entries", harness.Document{"key": "k", "value": c.secrets["env-kvm"]})
	for route, name := range map[string]string{"kvm": "everywhere", "env-kvm": "here"} {
		made("/routes/"+route+"/plugins", harness.Document{
			"name": "kvm-lookup", "config": harness.Document{"map": name, "key_name": "k", "header": "x-got"},
		})
	}
	made("/routes/cache/plugins", harness.Document{
		"name": "proxy-cache", "config": harness.Document{"strategy": "disk", "cache_ttl": 3600, "content_type": []string{"application/json"}},
	})
	return c
}

// serves fails when a data plane does not use each class, or has a response anew that it keeps.
func (c *classed) serves(t *testing.T, dp *harness.DataPlane) {
	t.Helper()
	for _, route := range []string{"contract", "kvm", "env-kvm"} {
		got := harness.EchoOf(t, dp.Await(200, "/"+route)).Header.Get("X-Got")
		if got != c.secrets[route] {
			t.Fatalf("the upstream of %s got another value of %d bytes", route, len(got))
		}
	}
	dp.Await(401, "/kms")
	dp.Await(200, "/kms", "Authorization", "Basic YW5uOmEtcGFzc3dvcmQ=")
	c.asked++
	harness.Eventually(t, "a response out of the cache", func() string {
		got := dp.MustGet(fmt.Sprintf("/cache?q=%s&n=%d", c.secrets["cache"], c.asked))
		if got.Status != 200 || got.Header.Get("X-Cache-Status") != "Hit" || !strings.Contains(got.Body, c.secrets["cache"]) {
			return got.Header.Get("X-Cache-Status")
		}
		return ""
	})
	harness.Eventually(t, "a response on the disk", func() string {
		segments, err := filepath.Glob(filepath.Join(dp.Cache(), "segment-*"))
		for _, path := range segments {
			if info, err := os.Stat(path); err == nil && info.Size() > 512 { // a header takes less
				return ""
			}
		}
		return fmt.Sprint("files: ", len(segments), " ", err)
	})
}

// nowhere fails when a canary lies on a data plane's disk. Access logs are left out: they name what clients asked for.
func (c *classed) nowhere(t *testing.T, dp *harness.DataPlane, when string) {
	t.Helper()
	if err := os.Truncate(dp.AccessLog(), 0); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for class, canary := range c.secrets {
		if where := harness.FindSecret(t, dp.Prefix, canary); where != "" {
			t.Errorf("%s: what is %s: %s", when, class, where)
		}
	}
}

// somewhere lists the classes of which a canary lies in a data plane's store.
func (c *classed) somewhere(t *testing.T, dp *harness.DataPlane) (classes []string) {
	t.Helper()
	for class, canary := range c.secrets {
		if class != "cache" && harness.FindSecret(t, dp.Store(), canary) != "" {
			classes = append(classes, class)
		}
	}
	return classes
}

// keysOf returns the keys of a file of scoped keys.
func keysOf(t *testing.T, text string) (keys []string) {
	t.Helper()
	for line := range strings.Lines(text) {
		_, value, found := strings.Cut(strings.TrimSpace(line), "EncryptionKey:")
		if value = strings.Trim(strings.TrimSpace(value), `"`); found && value != "" && !strings.HasPrefix(strings.TrimSpace(line), "#") {
			keys = append(keys, value)
		}
	}
	if len(keys) < 5 {
		t.Fatalf("%d keys were generated", len(keys))
	}
	return keys
}

func writeFile(t *testing.T, path, text string) string {
	t.Helper()
	next := path + ".next"
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
	return path
}
