package ratelimiting_test

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/plugin/keyauth"
	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
	"github.com/keepgate/keepgate/dataplane/plugin/ratelimiting"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
)

// configured limits all requests of two services, for three consumers.
func configured(config string) string {
	return `
services:
- {name: a, url: "{{origin}}", routes: [{name: a, paths: [/a]}]}
- {name: b, url: "{{origin}}", routes: [{name: b, paths: [/b]}]}
consumers:
- {username: al, keyauth_credentials: [{key: al-1}, {key: al-2}]}
- {username: bo, keyauth_credentials: [{key: bo-1}]}
- {username: guest, keyauth_credentials: [{key: guest-1}]}
plugins:
- {name: key-auth, config: {anonymous: guest}}
- {name: rate-limiting, id: 11111111-2222-4333-8444-555555555555, config: ` + config + `}
`
}

func gate(t *testing.T, config string) *plugintest.Gate {
	t.Helper()
	g := plugintest.New(t, keyauth.Kind{}, ratelimiting.New(ratelimiting.Options{}))
	g.Configure(configured(config))
	return g
}

// limited are the headers of an answer that speak of limits, without the two that depend on the time of day.
func limited(header http.Header) map[string]string {
	found := map[string]string{}
	for name := range header {
		if strings.Contains(name, "Ratelimit") && name != "Ratelimit-Reset" {
			found[name] = strings.Join(header.Values(name), ",")
		}
	}
	return found
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	g := gate(t, `{"month":3,"year":4}`)
	g.Origin.Answer(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("x-ratelimit-limit-month", "77") // an upstream that limits too
		w.Header().Set("RateLimit-Policy", "77")
	})
	said := func(leftMonth, leftYear, limit, left string) map[string]string {
		return map[string]string{
			"X-Ratelimit-Limit-Month": "3", "X-Ratelimit-Remaining-Month": leftMonth, "X-Ratelimit-Limit-Year": "4", "X-Ratelimit-Remaining-Year": leftYear,
			"Ratelimit-Limit": limit, "Ratelimit-Remaining": left,
		}
	}
	for i, want := range []map[string]string{said("2", "3", "3", "2"), said("1", "2", "3", "1"), said("0", "1", "3", "0"), said("0", "1", "3", "0")} {
		reply := g.Do(plugintest.Request{Target: "/a", Engine: plugintest.Engines()[i%2]})
		if diff := cmp.Diff(want, limited(reply.Header)); diff != "" {
			t.Errorf("request %d: %s", i, diff)
		}
		reset, err := strconv.Atoi(reply.Header.Get("RateLimit-Reset"))
		if err != nil || reset < 1 || reset > 31*86400 {
			t.Errorf("request %d: reset %q", i, reply.Header.Get("RateLimit-Reset"))
		}
		if refused := i == 3; reply.Status == 429 != refused || refused && (reply.Header.Get("Retry-After") != strconv.Itoa(reset) ||
			!strings.Contains(reply.Body, `"message":"API rate limit exceeded"`)) {
			t.Errorf("request %d: %d %v %s", i, reply.Status, reply.Header, reply.Body)
		}
	}
	if n := g.Origin.Requests(); n != 3 {
		t.Errorf("%d requests reached the origin", n)
	}
}

func TestHiddenHeadersAndOwnRefusal(t *testing.T) {
	t.Parallel()
	g := gate(t, `{"year":1,"hide_client_headers":true,"error_code":503,"error_message":"come back \"later\" <b>"}`)
	for i, want := range []int{200, 503} {
		reply := g.Get("/a")
		if reply.Status != want || len(limited(reply.Header)) > 0 || reply.Header.Get("Retry-After") != "" {
			t.Errorf("request %d: %d %v", i, reply.Status, reply.Header)
		}
		var said struct{ Message string }
		if want == 503 && (json.Unmarshal([]byte(reply.Body), &said) != nil || said.Message != `come back "later" <b>`) {
			t.Errorf("answered %s", reply.Body)
		}
	}
}

// Whom a request counts for: those of one word share a count, and each word has one of its own.
func TestLimitBy(t *testing.T) {
	t.Parallel()
	type ask struct {
		target  string
		headers []string
		counted string
	}
	al1, al2, bo := []string{"apikey", "al-1"}, []string{"apikey", "al-2"}, []string{"apikey", "bo-1"}
	for config, asks := range map[string][]ask{
		`"limit_by":"consumer"`:   {{"/a", al1, "al"}, {"/b", al2, "al"}, {"/a", bo, "bo"}, {"/a", nil, "guest"}, {"/a", []string{"apikey", "guest-1"}, "guest"}},
		`"limit_by":"credential"`: {{"/a", al1, "al-1"}, {"/b", al1, "al-1"}, {"/a", al2, "al-2"}, {"/a", nil, "address"}, {"/b", nil, "address"}},
		`"limit_by":"ip"`:         {{"/a", al1, "address"}, {"/b", bo, "address"}, {"/a", nil, "address"}},
		`"limit_by":"service"`:    {{"/a", al1, "a"}, {"/a", nil, "a"}, {"/b", al1, "b"}},
		`"limit_by":"header","header_name":"X-Tenant"`: {
			{"/a", []string{"x-tenant", "1"}, "1"},
			{"/b", []string{"X-Tenant", "1"}, "1"},
			{"/a", []string{"X-Tenant", "2"}, "2"},
			{"/a", nil, "address"},
			{"/a", []string{"X-Tenant", "127.0.0.1"}, "127.0.0.1"},
		},
		`"limit_by":"path","path":"/a/x"`: {{"/a/x", al1, "/a/x"}, {"/a//./x?q", nil, "/a/x"}, {"/a/y", nil, "address"}, {"/b", nil, "address"}},
	} {
		t.Run(config, func(t *testing.T) {
			t.Parallel()
			g := gate(t, `{"year":100,`+config+`}`)
			counts := map[string]int{}
			for i, one := range asks {
				counts[one.counted]++
				left := g.Get(one.target, one.headers...).Header.Get("X-RateLimit-Remaining-Year")
				if left != strconv.Itoa(100-counts[one.counted]) {
					t.Errorf("request %d, %s: %s left after %d", i, one.counted, left, counts[one.counted])
				}
			}
		})
	}
}

// A changed configuration goes on counting; another instance counts for itself.
func TestCountsOutliveTheConfiguration(t *testing.T) {
	t.Parallel()
	g := gate(t, `{"month":5}`)
	g.Get("/a")
	for _, config := range []string{`{"month":5,"year":10}`, `{"year":10,"hide_client_headers":false,"error_code":403}`} {
		g.Configure(configured(config))
		g.Get("/a")
	}
	g.Configure(configured(`{"year":3}`))
	if reply := g.Get("/b"); reply.Status != 429 {
		t.Errorf("the fourth request is answered %d", reply.Status)
	}
	g.Configure(strings.Replace(configured(`{"year":3}`), "11111111", "99999999", 1))
	if reply := g.Get("/a"); reply.Header.Get("X-RateLimit-Remaining-Year") != "2" {
		t.Errorf("another instance: %d, %s left", reply.Status, reply.Header.Get("X-RateLimit-Remaining-Year"))
	}
}

// Real clients on both engines, all at once.
func TestNoMoreThanTheLimitReachTheOrigin(t *testing.T) {
	t.Parallel()
	g := gate(t, `{"year":40}`)
	var clients sync.WaitGroup
	var refused atomic.Int64
	for i := range 12 {
		clients.Go(func() {
			for range 10 {
				if g.Do(plugintest.Request{Target: "/a", Engine: plugintest.Engines()[i%2]}).Status == 429 {
					refused.Add(1)
				}
			}
		})
	}
	clients.Wait()
	if n := g.Origin.Requests(); n != 40 || refused.Load() != 80 {
		t.Errorf("%d reached the origin, %d were refused", n, refused.Load())
	}
}

func TestConfigurationsThatAreRefused(t *testing.T) {
	t.Parallel()
	config := func(f func(*pluginv1.RateLimiting)) *pluginv1.RateLimiting {
		c := &pluginv1.RateLimiting{Minute: new(5.0)}
		f(c)
		return c
	}
	for name, c := range map[string]*pluginv1.RateLimiting{
		"no limit":           {},
		"a negative limit":   {Minute: new(-1.0)},
		"no number":          {Minute: new(math.NaN())},
		"a lower longer one": {Minute: new(5.0), Year: new(4.0)},
		"a shared policy":    config(func(c *pluginv1.RateLimiting) { c.Policy = new("redis") }),
		"an unknown kind":    config(func(c *pluginv1.RateLimiting) { c.LimitBy = new("moon") }),
		"no header name":     config(func(c *pluginv1.RateLimiting) { c.LimitBy = new("header") }),
		"a bad header name":  config(func(c *pluginv1.RateLimiting) { c.LimitBy, c.HeaderName = new("header"), new("a b") }),
		"no path":            config(func(c *pluginv1.RateLimiting) { c.LimitBy = new("path") }),
		"a bad path":         config(func(c *pluginv1.RateLimiting) { c.LimitBy, c.Path = new("path"), new("/%zz") }),
		"a status of 700":    config(func(c *pluginv1.RateLimiting) { c.ErrorCode = new(700.0) }),
		"a status of 1":      config(func(c *pluginv1.RateLimiting) { c.ErrorCode = new(1.0) }),
		"half a status":      config(func(c *pluginv1.RateLimiting) { c.ErrorCode = new(429.5) }),
		"no status":          config(func(c *pluginv1.RateLimiting) { c.ErrorCode = new(math.Inf(1)) }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body, err := proto.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			if made, err := ratelimiting.New(ratelimiting.Options{}).New(body, plugintest.Env()); err == nil {
				t.Errorf("made a %T", made)
			}
		})
	}
}
