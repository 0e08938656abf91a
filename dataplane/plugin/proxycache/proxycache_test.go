package proxycache_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
	"github.com/keepgate/keepgate/dataplane/plugin/proxycache"
)

func configured(config string) string {
	if config == "" {
		config = "{}"
	}
	return `services: [{name: s, url: "{{origin}}", routes: [{name: r, paths: [/]}]}]
plugins:
- {name: proxy-cache, created_at: 1700000000, config: ` + strings.Replace(config, "{", "{strategy: memory, ", 1) + `}
`
}

func newGate(t *testing.T, config string) *plugintest.Gate {
	t.Helper()
	g := plugintest.New(t, proxycache.New(proxycache.Options{MaxEntry: 64 << 10}))
	g.Configure(configured(config))
	return g
}

// statuses are what X-Cache-Status said of requests, one after another.
func statuses(g *plugintest.Gate, requests ...plugintest.Request) string {
	var said []string
	for _, r := range requests {
		said = append(said, g.Do(r).Header.Get("X-Cache-Status"))
	}
	return strings.Join(said, " ")
}

func get(target string, headers ...string) plugintest.Request {
	return plugintest.Request{Target: target, Headers: headers}
}

func TestRequests(t *testing.T) {
	t.Parallel()
	post := plugintest.Request{Method: "POST"}
	head := plugintest.Request{Method: "HEAD"}
	for name, test := range map[string]struct {
		config   string
		requests []plugintest.Request
		want     string
	}{
		"the same twice":              {"", []plugintest.Request{get("/a"), get("/a")}, "Miss Hit"},
		"another path":                {"", []plugintest.Request{get("/a"), get("/b"), get("/A")}, "Miss Miss Miss"},
		"paths in another case":       {"{ignore_uri_case: true}", []plugintest.Request{get("/a"), get("/A")}, "Miss Hit"},
		"parameters in another order": {"", []plugintest.Request{get("/?a=1&b=2"), get("/?b=2&a=1"), get("/?a=1")}, "Miss Hit Miss"},
		"one parameter twice":         {"", []plugintest.Request{get("/?a=1&a=2"), get("/?a=2&a=1")}, "Miss Miss"},
		"a parameter that counts":     {"{vary_query_params: [a]}", []plugintest.Request{get("/?a=1&b=2"), get("/?a=1&b=3"), get("/?%61=1"), get("/?a=2")}, "Miss Hit Miss Miss"},
		"a header that counts":        {"{vary_headers: [X-Kind]}", []plugintest.Request{get("/", "X-Kind", "a"), get("/", "x-kind", "a"), get("/", "X-Kind", "b"), get("/"), get("/", "X-Kind", "")}, "Miss Hit Miss Miss Miss"},
		"a header that does not":      {"", []plugintest.Request{get("/", "X-Kind", "a"), get("/", "X-Kind", "b")}, "Miss Hit"},
		"another host":                {"", []plugintest.Request{get("/", "Host", "a.test"), get("/", "Host", "b.test"), get("/", "Host", "A.test")}, "Miss Miss Hit"},
		"a method that is not asked":  {"", []plugintest.Request{post, post}, "Bypass Bypass"},
		"a POST":                      {"{request_method: [POST]}", []plugintest.Request{post, post, {Method: "POST", Body: "x"}}, "Miss Hit Bypass"},
		"HEAD alone":                  {"", []plugintest.Request{head, head, get("/")}, "Miss Hit Miss"},
		"HEAD of a GET's":             {"", []plugintest.Request{get("/"), head}, "Miss Hit"},
		"an Authorization":            {"", []plugintest.Request{get("/", "Authorization", "Basic eA=="), get("/", "Authorization", "Basic eA=="), get("/")}, "Bypass Bypass Miss"},
		"a request's no-store":        {"", []plugintest.Request{get("/", "Cache-Control", "no-store"), get("/"), get("/", "Cache-Control", "no-store")}, "Miss Miss Hit"},
		"no-store, and heard":         {"{cache_control: true}", []plugintest.Request{get("/", "Cache-Control", "no-store"), get("/", "Cache-Control", "no-cache")}, "Bypass Bypass"},
		"a header that steers":        {"", []plugintest.Request{get("/"), get("/", "X-HTTP-Method-Override", "DELETE"), get("/", "x_http_method_override", "DELETE"), get("/", "X-Original-URL", "/admin"), get("/"), get("/", "X-Hos", "a")}, "Miss Miss Miss Miss Hit Hit"},
		"another's way":               {"", []plugintest.Request{get("/"), get("/", "X-Forwarded-Scheme", "http"), get("/", "X-Forwarded-User", "a"), get("/", "X-Forwarded-User", "b"), get("/", "X-Forwarded-For", "10.0.0.1")}, "Miss Miss Miss Miss Hit"},
		"Forwarded":                   {"", []plugintest.Request{get("/"), get("/", "Forwarded", "for=10.0.0.1;by=x"), get("/", "Forwarded", "for=10.0.0.1; host=evil.test"), get("/", "Forwarded", "authorization"), get("/", "Authorization", "x")}, "Miss Hit Miss Miss Bypass"},
		"a query divided otherwise":   {"{vary_query_params: [a]}", []plugintest.Request{get("/?a=1&b=2"), get("/?a=1&b=2;a=3"), get("/?a=1&b=4")}, "Miss Miss Hit"},
		"an upgrade":                  {"", []plugintest.Request{get("/"), get("/", "X-Forwarded-Host", "evil.test")}, "Miss Miss"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := statuses(newGate(t, test.config), test.requests...); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

func TestResponses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		config  string
		headers []string
		status  int
		body    string
		request []string
		want    string
	}{
		"plain text":              {headers: []string{"Content-Type", "text/plain"}, want: "Miss Hit"},
		"no body":                 {headers: []string{"Content-Type", "text/plain"}, body: "-", want: "Miss Hit"},
		"a type with parameters":  {headers: []string{"Content-Type", "text/plain; charset=utf-8"}, want: "Bypass Bypass"},
		"those parameters":        {config: `{content_type: ["text/plain;charset=UTF-8"]}`, headers: []string{"Content-Type", "Text/Plain; charset=utf-8"}, want: "Miss Hit"},
		"any type":                {config: `{content_type: ["*/*"]}`, headers: []string{"Content-Type", "image/png"}, want: "Miss Hit"},
		"any type, alone":         {config: `{content_type: ["*"]}`, headers: []string{"Content-Type", "image/png"}, want: "Miss Hit"},
		"any subtype":             {config: `{content_type: ["text/*"]}`, headers: []string{"Content-Type", "image/png"}, want: "Bypass Bypass"},
		"events":                  {config: `{content_type: ["*/*"]}`, headers: []string{"Content-Type", "text/event-stream"}, want: "Bypass Bypass"},
		"an error":                {headers: []string{"Content-Type", "text/plain"}, status: 500, want: "Bypass Bypass"},
		"a part":                  {config: `{response_code: [206]}`, headers: []string{"Content-Type", "text/plain", "Content-Range", "bytes 0-1/2"}, status: 206, want: "Bypass Bypass"},
		"a cookie":                {headers: []string{"Content-Type", "text/plain", "Set-Cookie", "a=b"}, want: "Bypass Bypass"},
		"private":                 {headers: []string{"Content-Type", "text/plain", "Cache-Control", "max-age=5, Private"}, want: "Bypass Bypass"},
		"private for a field":     {headers: []string{"Content-Type", "text/plain", "Cache-Control", `private="x-a, x-b"`}, want: "Bypass Bypass"},
		"no-store":                {headers: []string{"Content-Type", "text/plain", "Cache-Control", "no-store"}, want: "Bypass Bypass"},
		"quoted no-store":         {headers: []string{"Content-Type", "text/plain", "Cache-Control", `x="no-store,y"`}, want: "Miss Hit"},
		"any header":              {headers: []string{"Content-Type", "text/plain", "Vary", "*"}, want: "Bypass Bypass"},
		"the gateway's header":    {headers: []string{"Content-Type", "text/plain", "Vary", "Accept, X-Forwarded-For"}, want: "Bypass Bypass"},
		"authorised, public":      {headers: []string{"Content-Type", "text/plain", "Cache-Control", "public"}, request: []string{"Authorization", "x"}, want: "Miss Hit"},
		"authorised":              {headers: []string{"Content-Type", "text/plain", "Cache-Control", "max-age=60"}, request: []string{"Authorization", "x"}, want: "Bypass Bypass"},
		"without a lifetime":      {config: "{cache_control: true}", headers: []string{"Content-Type", "text/plain"}, want: "Bypass Bypass"},
		"with a lifetime":         {config: "{cache_control: true}", headers: []string{"Content-Type", "text/plain", "Cache-Control", "max-age=60"}, want: "Miss Hit"},
		"old by its date":         {config: "{cache_control: true}", headers: []string{"Content-Type", "text/plain", "Cache-Control", "max-age=60", "Date", "Sun, 06 Nov 1994 08:49:37 GMT"}, want: "Bypass Bypass"},
		"old by an obsolete date": {config: "{cache_control: true}", headers: []string{"Content-Type", "text/plain", "Cache-Control", "max-age=60", "Date", "Sun Nov  6 08:49:37 1994"}, want: "Bypass Bypass"},
		"expires, obsoletely":     {config: "{cache_control: true}", headers: []string{"Content-Type", "text/plain", "Expires", "Sat Nov  6 08:49:37 2094"}, want: "Miss Hit"},
		"no such part":            {config: `{response_code: [416, 412]}`, headers: []string{"Content-Type", "text/plain"}, status: 416, request: []string{"Range", "bytes=9-"}, want: "Bypass Bypass"},
		"old already":             {config: "{cache_control: true}", headers: []string{"Content-Type", "text/plain", "Cache-Control", "max-age=60", "Age", "60"}, want: "Bypass Bypass"},
		"shared lifetime":         {config: "{cache_control: true}", headers: []string{"Content-Type", "text/plain", "Cache-Control", "max-age=60, s-maxage=0"}, want: "Bypass Bypass"},
		"expires":                 {config: "{cache_control: true}", headers: []string{"Content-Type", "text/plain", "Expires", "Fri, 01 Jan 2100 00:00:00 GMT"}, want: "Miss Hit"},
		"expired":                 {config: "{cache_control: true}", headers: []string{"Content-Type", "text/plain", "Expires", "0"}, want: "Bypass Bypass"},
		"max-age of who asks":     {config: "{cache_control: true}", headers: []string{"Content-Type", "text/plain", "Cache-Control", "max-age=60", "Age", "30"}, request: []string{"Cache-Control", "max-age=20"}, want: "Miss Refresh"},
		"min-fresh":               {config: "{cache_control: true}", headers: []string{"Content-Type", "text/plain", "Cache-Control", "max-age=60"}, request: []string{"Cache-Control", "min-fresh=90"}, want: "Miss Refresh"},
		"too large":               {headers: []string{"Content-Type", "text/plain"}, body: strings.Repeat("x", 65<<10), want: "Bypass Bypass"},
		"too large, in chunks":    {headers: []string{"Content-Type", "text/plain", "X-Chunks", "1"}, body: strings.Repeat("x", 65<<10), want: "Miss Miss"},
		"in chunks":               {headers: []string{"Content-Type", "text/plain", "X-Chunks", "1"}, body: strings.Repeat("x", 60<<10), want: "Miss Hit"},
		"with trailers":           {headers: []string{"Content-Type", "text/plain", "Trailer", "X-End"}, want: "Miss Miss"},
		"cut":                     {headers: []string{"Content-Type", "text/plain", "X-Cut", "1"}, body: strings.Repeat("x", 60<<10), want: "cut"},
		"cut, in chunks":          {headers: []string{"Content-Type", "text/plain", "X-Chunks", "1", "X-Cut", "1"}, body: strings.Repeat("x", 60<<10), want: "cut"},
		"until the end":           {headers: []string{"Content-Type", "text/plain", "X-Hijack", "1"}, want: "Bypass Bypass"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t, test.config)
			g.Origin.Answer(func(w http.ResponseWriter, _ *http.Request) {
				answer(w, test.headers, test.status, test.body)
			})
			if test.want == "cut" { // the client is cut off too
				for range 2 {
					response, err := http.Get(g.URL(plugintest.HTTP1) + "/")
					if err != nil {
						continue
					}
					if said := response.Header.Get("X-Cache-Status"); said == "Hit" {
						t.Error("half a response was kept")
					}
					response.Body.Close()
				}
				if asked := g.Origin.Requests(); asked < 2 {
					t.Errorf("the origin was asked %d times", asked)
				}
				return
			}
			first, second := g.Get("/", test.request...), g.Get("/", test.request...)
			if got := first.Header.Get("X-Cache-Status") + " " + second.Header.Get("X-Cache-Status"); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
			if first.Body != second.Body || first.Status != second.Status || first.Header.Get("Content-Length") != second.Header.Get("Content-Length") && test.headers[2%len(test.headers)] != "X-Chunks" {
				t.Errorf("%d bytes, then %d", len(first.Body), len(second.Body))
			}
		})
	}
}

// answer is the origin's.
func answer(w http.ResponseWriter, headers []string, status int, body string) {
	if body == "" {
		body = "hello"
	}
	body = strings.TrimPrefix(body, "-")
	for i := 0; i+1 < len(headers); i += 2 {
		w.Header().Set(headers[i], headers[i+1])
	}
	switch {
	case w.Header().Get("X-Hijack") != "":
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			fmt.Fprintf(conn, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n%s", body)
			conn.Close()
		}
		return
	case w.Header().Get("X-Chunks") == "" && w.Header().Get("Trailer") == "":
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	}
	if status != 0 {
		w.WriteHeader(status)
	}
	if w.Header().Get("X-Cut") != "" {
		body = body[:len(body)/2]
	}
	_, _ = w.Write([]byte(body))
	if w.Header().Get("Trailer") != "" {
		w.Header().Set("X-End", "1")
	}
	if w.Header().Get("X-Cut") != "" {
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}

func TestWhatAHitSays(t *testing.T) {
	t.Parallel()
	g := newGate(t, "")
	g.Origin.Answer(func(w http.ResponseWriter, _ *http.Request) {
		answer(w, []string{"Content-Type", "text/plain", "ETag", `"v1"`, "X-Two", "1", "Age", "40", "Connection", "X-Hop", "X-Hop", "1", "X-Cache-Status", "theirs"}, 0, "")
	})
	for _, engine := range plugintest.Engines() {
		request := plugintest.Request{Engine: engine, Target: "/" + string(engine)}
		first, hit := g.Do(request), g.Do(request)
		if hit.Status != 200 || hit.Body != "hello" || hit.Header.Get("X-Two") != "1" || hit.Header.Get("X-Hop") != "" || hit.Header.Get("Date") != first.Header.Get("Date") {
			t.Errorf("%q: %+v", engine, hit)
		}
		if age := hit.Header.Get("Age"); age != "40" && age != "41" && age != "42" {
			t.Errorf("%q: age %s", engine, age)
		}
		if key := hit.Header.Get("X-Cache-Key"); len(key) != 64 || key != first.Header.Get("X-Cache-Key") || len(hit.Header.Values("X-Cache-Status")) != 1 {
			t.Errorf("%q: %v", engine, hit.Header)
		}
		if hit.Header.Get("Via") != "" && first.Header.Get("Via") == "" || hit.Header.Get("X-Keepgate-Upstream-Latency") != "" {
			t.Errorf("%q: an upstream seems to have answered: %v", engine, hit.Header)
		}
		request.Headers = []string{"If-None-Match", `"v0", W/"v1"`}
		if same := g.Do(request); same.Status != 304 || same.Body != "" || same.Header.Get("ETag") != `"v1"` || same.Header.Get("Content-Type") != "" {
			t.Errorf("%q: to who has it: %+v", engine, same)
		}
		request.Headers, request.Method = nil, "HEAD"
		if head := g.Do(request); head.Status != 200 || head.Body != "" || head.Header.Get("Content-Length") != "5" || head.Header.Get("X-Cache-Status") != "Hit" {
			t.Errorf("%q: HEAD: %+v", engine, head)
		}
	}
	if asked := g.Origin.Requests(); asked != 2 {
		t.Errorf("the origin was asked %d times", asked)
	}
}

func TestHeadKeepsItsLength(t *testing.T) {
	t.Parallel()
	g := newGate(t, "")
	g.Origin.Answer(func(w http.ResponseWriter, _ *http.Request) {
		answer(w, []string{"Content-Type", "text/plain"}, 0, "12345678")
	})
	for _, want := range []string{"Miss", "Hit"} {
		head := g.Do(plugintest.Request{Method: "HEAD"})
		if head.Header.Get("Content-Length") != "8" || head.Header.Get("X-Cache-Status") != want {
			t.Errorf("%s: %v", want, head.Header)
		}
	}
}
