package proxycache_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/cachestore"
	"github.com/keepgate/keepgate/dataplane/plugin/keyauth"
	"github.com/keepgate/keepgate/dataplane/plugin/kvmlookup"
	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
	"github.com/keepgate/keepgate/dataplane/plugin/proxycache"
	"github.com/keepgate/keepgate/dataplane/plugin/responsetransformer"
	"github.com/keepgate/keepgate/shared/localkeys"
	"github.com/keepgate/keepgate/shared/secret"
)

func TestVary(t *testing.T) {
	t.Parallel()
	g := newGate(t, "")
	g.Origin.Answer(func(w http.ResponseWriter, r *http.Request) {
		answer(w, []string{"Content-Type", "text/plain", "Vary", "Accept-Language"}, 0, "in "+r.Header.Get("Accept-Language"))
	})
	for range 2 {
		for _, language := range []string{"de", "ja"} {
			if reply := g.Get("/", "Accept-Language", language); reply.Body != "in "+language {
				t.Errorf("asked in %s: %q", language, reply.Body)
			}
		}
	}
	if asked := g.Origin.Requests(); asked != 2 {
		t.Errorf("the origin was asked %d times", asked)
	}
}

func TestOnlyIfCached(t *testing.T) {
	t.Parallel()
	g := newGate(t, "{cache_control: true}")
	if reply := g.Get("/", "Cache-Control", "only-if-cached"); reply.Status != 504 || reply.Header.Get("X-Cache-Status") != "Miss" || g.Origin.Requests() != 0 {
		t.Errorf("%d %v", reply.Status, reply.Header)
	}
}

func TestStale(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		says, wants, want string
	}{
		"stale":             {"max-age=1", "", "Refresh"},
		"any is welcome":    {"max-age=1", "max-stale", "Hit"},
		"a bit":             {"max-age=1", "max-stale=60", "Hit"},
		"none is":           {"max-age=1, must-revalidate", "max-stale", "Refresh"},
		"nor of the shared": {"s-maxage=1", "max-stale", "Refresh"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t, "{cache_control: true, storage_ttl: 1000}")
			g.Origin.Answer(func(w http.ResponseWriter, _ *http.Request) {
				answer(w, []string{"Content-Type", "text/plain", "Cache-Control", test.says}, 0, "")
			})
			g.Get("/")
			deadline := time.Now().Add(30 * time.Second)
			for g.Get("/", "Cache-Control", "only-if-cached").Header.Get("X-Cache-Status") == "Hit" { // until it is stale
				if time.Now().After(deadline) {
					t.Fatal("it stays fresh")
				}
				time.Sleep(50 * time.Millisecond)
			}
			headers := []string{"Cache-Control", "max-age=100000"}
			if test.wants != "" {
				headers[1] = test.wants
			}
			g.Origin.Answer(func(w http.ResponseWriter, _ *http.Request) {
				answer(w, []string{"Content-Type", "image/png"}, 500, "")
			})
			got := g.Get("/", headers...).Header.Get("X-Cache-Status")
			if got == "Bypass" { // asked anew, and what came is not kept
				got = "Refresh"
			}
			if got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

func TestConsumersAreApart(t *testing.T) {
	t.Parallel()
	g := plugintest.New(t, proxycache.New(proxycache.Options{}), keyauth.Kind{})
	g.Configure(configured("") + `- {name: key-auth, config: {hide_credentials: true}}
consumers:
- {username: a, keyauth_credentials: [{key: ka}, {key: kb}]}
- {username: c, keyauth_credentials: [{key: kc}]}
`)
	if got := statuses(g, get("/", "apikey", "ka"), get("/", "apikey", "kb"), get("/", "apikey", "kc"), get("/"), get("/", "apikey", "ka")); got != "Miss Hit Miss  Hit" {
		t.Error(got)
	}
}

// On a hit other plugins do to the response what they did to the upstream's, once.
func TestTransformed(t *testing.T) {
	t.Parallel()
	g := plugintest.New(t, proxycache.New(proxycache.Options{}), responsetransformer.New())
	g.Configure(configured("") + `- {name: response-transformer, config: {add: {json: ["a:1"]}, append: {headers: ["X-More:1"]}, remove: {headers: ["X-Origin"]}}}
`)
	first, hit := g.Get("/"), g.Get("/")
	if hit.Header.Get("X-Cache-Status") != "Hit" || hit.Body != first.Body || !strings.Contains(hit.Body, `"a":`) || len(hit.Header.Values("X-More")) != 1 || hit.Header.Get("X-Origin") != "" {
		t.Errorf("%v %s", hit.Header, hit.Body)
	}
}

// What a look-up has told the upstream is in no other part of a key: whoever is looked up as somebody else has another response.
func TestLookedUp(t *testing.T) {
	t.Parallel()
	g := plugintest.New(t, proxycache.New(proxycache.Options{}), kvmlookup.New())
	g.Configure(configured("") + `- {name: kvm-lookup, config: {map: tenants, key_from: header, key_name: X-Key, header: X-Tenant, on_missing: skip}}
key_value_maps: [{name: tenants, entries: [{key: a, value: of-a}, {key: b, value: of-b}, {key: also-b, value: of-b}]}]
`)
	g.Origin.Answer(func(w http.ResponseWriter, r *http.Request) {
		answer(w, []string{"Content-Type", "text/plain"}, 0, "for "+r.Header.Get("X-Tenant"))
	})
	for _, asked := range []struct{ key, want string }{{"a", "Miss for of-a"}, {"b", "Miss for of-b"}, {"none", "Miss for "}, {"a", "Hit for of-a"}, {"also-b", "Hit for of-b"}, {"other", "Hit for "}} {
		reply := g.Get("/", "X-Key", asked.key)
		if got := reply.Header.Get("X-Cache-Status") + " " + reply.Body; got != asked.want {
			t.Errorf("%s: %q, want %q", asked.key, got, asked.want)
		}
	}
}

func TestSwappedTables(t *testing.T) {
	t.Parallel()
	g := newGate(t, "")
	g.Get("/")
	g.Configure(configured("{cache_ttl: 500}"))
	if got := statuses(g, get("/")); got != "Hit" {
		t.Errorf("after another configuration: %s", got)
	}
	g.Configure(configured("{ignore_uri_case: true}"))
	g.Get("/Folded")
	g.Configure(configured(""))
	if got := statuses(g, get("/folded")); got != "Miss" {
		t.Errorf("what was kept for another path: %s", got)
	}
}

// An id may be given to another plugin after it was deleted, and the purges of the first have gone with it.
func TestAnotherPluginOfTheSameID(t *testing.T) {
	t.Parallel()
	g := newGate(t, "")
	made := func(at string) string {
		return strings.Replace(configured(""), "1700000000", at, 1)
	}
	var said []string
	for _, at := range []string{"1700000000", "1700000000", "1700000001"} {
		g.Configure(made(at))
		said = append(said, statuses(g, get("/")))
	}
	if got := strings.Join(said, " "); got != "Miss Hit Miss" {
		t.Error(got)
	}
}

func TestThroughTheDisk(t *testing.T) {
	t.Parallel()
	ring, err := localkeys.New(secret.Take(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(t.TempDir(), "cache")
	for _, want := range []string{"Miss", "Hit"} { // the second time after a restart
		cache := cachestore.New(cachestore.Options{Disk: 1 << 20, Folder: folder, Keys: ring, Node: "n", Environment: "e"})
		g := plugintest.New(t, proxycache.New(proxycache.Options{Cache: cache}))
		g.Configure(strings.Replace(configured(""), "memory", "disk", 1))
		first := g.Get("/", "Host", "gate.test")
		if got := first.Header.Get("X-Cache-Status"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		deadline := time.Now().Add(30 * time.Second)
		for g.Get("/", "Host", "gate.test").Header.Get("X-Cache-Status") != "Hit" {
			if time.Now().After(deadline) {
				t.Fatal("it is not kept")
			}
		}
		if hit := g.Get("/", "Host", "gate.test"); hit.Body != first.Body && want == "Hit" || hit.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%v %s", hit.Header, hit.Body)
		}
		key := first.Header.Get("X-Cache-Key")
		if shown := proxycache.Look(cache, key, time.Now().Unix()); len(shown) != 1 || shown[0].Status != 200 || shown[0].Tier != "disk" || shown[0].Bytes == 0 {
			t.Errorf("%+v", shown)
		}
		g.Stop()
		if err := cache.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
