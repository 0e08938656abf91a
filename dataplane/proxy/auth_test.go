package proxy_test

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/proxy"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
	"github.com/keepgate/keepgate/shared/verifier"
)

const aliceKey = "alice's key/+=%"

func authEntities(t testing.TB, o *origin) []entity {
	k := newKeys()
	expired := k.credential("expired-cred", "alice", "expired-key")
	expired.message.(*configv1.KeyauthCredential).ExpiresAt = new(time.Now().Unix() - 1)
	return []entity{
		o.service("s"), k.entity(), consumer("alice", "Alice"), consumer("guest", "nobody"),
		k.credential("alice-cred", "alice", aliceKey), expired, k.credential("lost", "no-such-consumer", "lost-key"),
		{"basicauth_credentials", "alice-basic", &configv1.BasicauthCredential{Username: new("al"), Password: new(verifier.HashPassword([]byte("pass:word"))), Consumer: ref("alice")}},
	}
}

func TestKeyAuth(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	list := append(authEntities(t, o),
		route("key", "s"), plug(t, "p1", "key-auth", &pluginv1.KeyAuth{KeyNames: array("apikey", "x-key"), Realm: new(`a "b"`)}, onRoute("key")),
		route("hide", "s"), plug(t, "p2", "key-auth", &pluginv1.KeyAuth{KeyNames: array("apikey"), HideCredentials: new(true), KeyInBody: new(true)}, onRoute("hide")),
		route("anon", "s"), plug(t, "p3", "key-auth", &pluginv1.KeyAuth{KeyNames: array("apikey"), Anonymous: new("nobody"), RunOnPreflight: new(false)}, onRoute("anon")),
		route("noanon", "s"), plug(t, "p4", "key-auth", &pluginv1.KeyAuth{KeyNames: array("apikey"), Anonymous: new("gone")}, onRoute("noanon")),
		route("header", "s"), plug(t, "p5", "key-auth", &pluginv1.KeyAuth{KeyNames: array("apikey"), KeyInQuery: new(false), RunOnPreflight: new(false)}, onRoute("header")),
	)
	g := newGateway(t, proxy.Options{}, list...)
	const encoded = "alice%27s+key%2F%2B%3D%25"
	tests := map[string]struct {
		method, target, body string
		headers              []string
		status               int
		contains             string
		challenge            string
		upstream             map[string]string
	}{
		"in a header": {
			target: "/key", headers: []string{"APIKEY", aliceKey, "X-Consumer-Username", "root"}, status: 200,
			upstream: map[string]string{"X-Consumer-Username": "Alice", "X-Consumer-Id": "alice", "X-Consumer-Custom-Id": "custom-alice", "X-Credential-Identifier": "alice-cred", "Apikey": aliceKey, "X-Anonymous-Consumer": ""},
		},
		"in the second header":       {target: "/key", headers: []string{"x-key", aliceKey}, status: 200},
		"in the query":               {target: "/key?a=b&apikey=" + encoded, status: 200, contains: "apikey=" + encoded},
		"none":                       {target: "/key", status: 401, contains: "No API key found in request", challenge: `Key realm="a \"b\""`},
		"empty":                      {target: "/key?apikey=", status: 401, contains: "No API key found in request"},
		"unknown":                    {target: "/key?apikey=nonsense", status: 401, contains: "Unauthorized", challenge: `Key realm="a \"b\""`},
		"expired":                    {target: "/key?apikey=expired-key", status: 401, contains: "Unauthorized"},
		"of a lost consumer":         {target: "/key?apikey=lost-key", status: 401, contains: "Unauthorized"},
		"twice in the query":         {target: "/key?apikey=a&apikey=b", status: 401, contains: "Duplicate API key found"},
		"twice in headers":           {target: "/key", headers: []string{"apikey", aliceKey, "apikey", aliceKey}, status: 401, contains: "Duplicate API key found"},
		"in a query not looked at":   {target: "/header?apikey=" + encoded, status: 401, contains: "No API key found in request", challenge: "Key"},
		"preflight passes":           {method: "OPTIONS", target: "/header", status: 200},
		"preflight is asked":         {method: "OPTIONS", target: "/key", status: 401},
		"hidden in a header":         {target: "/hide", headers: []string{"apikey", aliceKey}, status: 200, upstream: map[string]string{"Apikey": "", "X-Consumer-Id": "alice"}},
		"hidden in the query":        {target: "/hide?x=1&apikey=" + encoded + "&y=2", status: 200, contains: "GET /?x=1&y=2 "},
		"hidden, the only parameter": {target: "/hide?apikey=" + encoded, status: 200, contains: "GET / "},
		"hidden in a form": {
			method: "POST", target: "/hide", body: "apikey=" + encoded + "&b=2", headers: []string{"Content-Type", "application/x-www-form-urlencoded"},
			status: 200, contains: "POST / b=2",
		},
		"hidden in JSON": {
			method: "POST", target: "/hide", body: `{"apikey":"` + aliceKey + `","n":12345678901234567890}`, headers: []string{"Content-Type", "application/json; charset=utf-8"},
			status: 200, contains: `POST / {"n":12345678901234567890}`,
		},
		"hidden in multipart": {
			method: "POST", target: "/hide", headers: []string{"Content-Type", "multipart/form-data; boundary=B"}, status: 200, contains: "other",
			body: "--B\r\nContent-Disposition: form-data; name=\"apikey\"\r\n\r\n" + aliceKey + "\r\n--B\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\nother\r\n--B--\r\n",
		},
		"a body of no known form":  {method: "POST", target: "/hide", body: "x", headers: []string{"Content-Type", "image/png"}, status: 400, contains: "Cannot process request body"},
		"broken JSON":              {method: "POST", target: "/hide", body: `{"apikey":`, headers: []string{"Content-Type", "application/json"}, status: 400, contains: "Cannot process request body"},
		"anonymous":                {target: "/anon", status: 200, upstream: map[string]string{"X-Anonymous-Consumer": "true", "X-Consumer-Username": "nobody", "X-Credential-Identifier": ""}},
		"anonymous with a key":     {target: "/anon", headers: []string{"apikey", aliceKey}, status: 200, upstream: map[string]string{"X-Anonymous-Consumer": "", "X-Consumer-Username": "Alice"}},
		"anonymous does not exist": {target: "/noanon", status: 500, contains: "An unexpected error occurred"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			method := test.method
			if method == "" {
				method = "GET"
			}
			got := g.do(t, method, test.target, test.body, test.headers...)
			if got.status != test.status || !strings.Contains(got.body, test.contains) || strings.Contains(test.target, "hide") && strings.Contains(got.body, "alice") {
				t.Fatalf("got %d %s", got.status, got.body)
			}
			if test.challenge != "" && got.header.Get("WWW-Authenticate") != test.challenge {
				t.Errorf("WWW-Authenticate: %s", got.header.Get("WWW-Authenticate"))
			}
			if test.status != 200 {
				return
			}
			if seen := <-o.seen; test.upstream != nil {
				compareHeaders(t, seen.Header, test.upstream)
			}
		})
	}
	g.flush()
	if log := g.log.String(); strings.Contains(log, "alice%27s") || strings.Contains(log, "nonsense") || !strings.Contains(log, "/key?apikey=REDACTED HTTP/") {
		t.Errorf("the access log shows a key:\n%s", log)
	}
}

func compareHeaders(t *testing.T, got http.Header, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if have := strings.Join(got[name], " | "); have != value {
			t.Errorf("%s: %q, want %q", name, have, value)
		}
	}
}

func TestBasicAuth(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	list := append(authEntities(t, o),
		route("basic", "s"), plug(t, "p1", "basic-auth", &pluginv1.BasicAuth{HideCredentials: new(true)}, onRoute("basic")),
		// Either of two: key-auth runs first, each with an anonymous consumer, and a termination for that one.
		route("either", "s"), plug(t, "p2", "basic-auth", &pluginv1.BasicAuth{Anonymous: new("guest")}, onRoute("either")),
		plug(t, "p3", "key-auth", &pluginv1.KeyAuth{KeyNames: array("apikey"), Anonymous: new("guest")}, onRoute("either")),
		plug(t, "p4", "request-termination", &pluginv1.RequestTermination{StatusCode: new(int64(403)), Message: new("So long")}, onConsumer("guest")),
		route("both", "s"), plug(t, "p5", "basic-auth", &pluginv1.BasicAuth{Realm: new("r")}, onRoute("both")), plug(t, "p6", "key-auth", keyAuth(), onRoute("both")),
	)
	g := newGateway(t, proxy.Options{}, list...)
	good := "Basic YWw6cGFzczp3b3Jk" // al:pass:word
	tests := map[string]struct {
		target    string
		headers   []string
		status    int
		contains  string
		challenge string
		upstream  map[string]string
	}{
		"right": {
			target: "/basic", headers: []string{"Authorization", good}, status: 200,
			upstream: map[string]string{"X-Consumer-Username": "Alice", "X-Credential-Identifier": "al", "Authorization": ""},
		},
		"right, remembered":    {target: "/basic", headers: []string{"Authorization", "basic YWw6cGFzczp3b3Jk"}, status: 200},
		"right, for a proxy":   {target: "/basic", headers: []string{"Proxy-Authorization", good}, status: 200, upstream: map[string]string{"Proxy-Authorization": ""}},
		"wrong":                {target: "/basic", headers: []string{"Authorization", "Basic YWw6d3Jvbmc="}, status: 401, contains: "Unauthorized", challenge: `Basic realm="service"`},
		"unknown user":         {target: "/basic", headers: []string{"Authorization", "Basic Ym9iOmJvYg=="}, status: 401, contains: "Unauthorized"},
		"none":                 {target: "/basic", status: 401, contains: "Unauthorized", challenge: `Basic realm="service"`},
		"no base64":            {target: "/basic", headers: []string{"Authorization", "Basic ***"}, status: 401},
		"no colon":             {target: "/basic", headers: []string{"Authorization", "Basic YWw="}, status: 401},
		"another scheme":       {target: "/basic", headers: []string{"Authorization", "Bearer YWw6cGFzczp3b3Jk"}, status: 401},
		"either: by key":       {target: "/either", headers: []string{"apikey", aliceKey}, status: 200, upstream: map[string]string{"X-Credential-Identifier": "alice-cred"}},
		"either: by password":  {target: "/either", headers: []string{"Authorization", good}, status: 200, upstream: map[string]string{"X-Credential-Identifier": "al", "X-Anonymous-Consumer": ""}},
		"either: by neither":   {target: "/either", status: 403, contains: `{"message":"So long"}`},
		"both: key alone":      {target: "/both", headers: []string{"apikey", aliceKey}, status: 401, challenge: `Basic realm="r"`},
		"both: password alone": {target: "/both", headers: []string{"Authorization", good}, status: 401, challenge: "Key"},
		"both":                 {target: "/both", headers: []string{"Authorization", good, "apikey", aliceKey}, status: 200, upstream: map[string]string{"X-Credential-Identifier": "al"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := g.do(t, "GET", test.target, "", test.headers...)
			if got.status != test.status || !strings.Contains(got.body, test.contains) {
				t.Fatalf("got %d %s", got.status, got.body)
			}
			if test.challenge != "" && got.header.Get("WWW-Authenticate") != test.challenge {
				t.Errorf("WWW-Authenticate: %s", got.header.Get("WWW-Authenticate"))
			}
			if test.status == 200 {
				compareHeaders(t, (<-o.seen).Header, test.upstream)
			}
		})
	}
}

// A user name under attack costs a bounded number of hashes; whoever knows the password still gets in.
func TestBasicAuthOverflows(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	g := newGateway(t, proxy.Options{}, append(authEntities(t, o), route("basic", "s"), plug(t, "p1", "basic-auth", &pluginv1.BasicAuth{}, onRoute("basic")))...)
	if got := g.do(t, "GET", "/basic", "", "Authorization", "Basic YWw6cGFzczp3b3Jk"); got.status != 200 {
		t.Fatalf("got %d", got.status)
	}
	var refused, tooMany atomic.Int32
	var wg sync.WaitGroup
	for i := range 40 { // at once, so that the budget cannot refill meanwhile
		wg.Go(func() {
			request, _ := http.NewRequest("GET", "/", nil)
			request.SetBasicAuth("al", strings.Repeat("x", i+1))
			got := g.do(t, "GET", "/basic", "", "Authorization", request.Header.Get("Authorization"))
			if (got.status == 429) != (got.header.Get("Retry-After") == "1") {
				t.Errorf("%d with Retry-After %q", got.status, got.header.Get("Retry-After"))
			}
			switch got.status {
			case 401:
				refused.Add(1)
			case 429:
				tooMany.Add(1)
			}
		})
	}
	wg.Wait()
	if refused.Load() == 0 || tooMany.Load() == 0 || refused.Load()+tooMany.Load() != 40 {
		t.Errorf("of 40 guesses %d got 401 and %d got 429", refused.Load(), tooMany.Load())
	}
	if got := g.do(t, "GET", "/basic", "", "Authorization", "Basic YWw6cGFzczp3b3Jk"); got.status != 200 {
		t.Errorf("the right password gets %d during an attack", got.status)
	}
}

func TestRequestTermination(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	end := func(id string, c *pluginv1.RequestTermination) []entity {
		return []entity{route(id, "s"), plug(t, "p-"+id, "request-termination", c, onRoute(id))}
	}
	list := []entity{o.service("s"), route("keyed", "s"), plug(t, "keys", "key-auth", keyAuth(), onRoute("keyed"))}
	for id, c := range map[string]*pluginv1.RequestTermination{
		"default": {}, "teapot": {StatusCode: new(int64(418))}, "message": {StatusCode: new(int64(403)), Message: new("a <b>")},
		"body": {Body: new("<p/>"), ContentType: new("text/xml")}, "trigger": {Trigger: new("x-stop")}, "echo": {Echo: new(true), StatusCode: new(int64(200))},
	} {
		list = append(list, end(id, c)...)
	}
	g := newGateway(t, proxy.Options{}, list...)
	for target, want := range map[string]struct {
		status     int
		mime, body string
		headers    []string
	}{
		"/default":          {503, "application/json; charset=utf-8", `{"message":"Service unavailable"}`, nil},
		"/teapot":           {418, "", "", nil},
		"/message":          {403, "application/json; charset=utf-8", `{"message":"a <b>"}`, nil},
		"/body":             {503, "text/xml", "<p/>", nil},
		"/trigger":          {200, "text/plain; charset=utf-8", "GET / ", nil},
		"/trigger?x-stop=1": {503, "application/json; charset=utf-8", `{"message":"Service unavailable"}`, nil},
		"/trigger?x-stop=2": {503, "application/json; charset=utf-8", `{"message":"Service unavailable"}`, []string{"X-Stop", "1"}},
	} {
		got := g.do(t, "GET", target, "", want.headers...)
		if got.status != want.status || got.header.Get("Content-Type") != want.mime || got.body != want.body {
			t.Errorf("%s: %d %s %q", target, got.status, got.header.Get("Content-Type"), got.body)
		}
	}
	echo := g.do(t, "POST", "/echo?a=1&a=2", "hello", "Host", "shop.test:81")
	for _, part := range []string{`"raw_body":"hello"`, `"host":"shop.test"`, `"port":81`, `"a":["1","2"]`, `"matched_route":{"id":"echo"`, `"method":"POST"`} {
		if !strings.Contains(echo.body, part) {
			t.Errorf("echo lacks %s: %s", part, echo.body)
		}
	}
	hiding := newGateway(t, proxy.Options{}, append(append(authEntities(t, o), end("hidden", &pluginv1.RequestTermination{Echo: new(true)})...),
		plug(t, "hiding", "key-auth", &pluginv1.KeyAuth{KeyNames: array("apikey"), HideCredentials: new(true), KeyInBody: new(true)}, onRoute("hidden")))...)
	for mime, body := range map[string]string{
		"application/x-www-form-urlencoded": "apikey=alice%27s+key%2F%2B%3D%25&b=2",
		"application/json":                  `{"apikey":"` + aliceKey + `","b":2}`,
	} {
		got := hiding.do(t, "POST", "/hidden", body, "Content-Type", mime)
		if got.status != 503 || !strings.Contains(got.body, `"raw_body":`) || !strings.Contains(got.body, "b") || strings.Contains(got.body, "apikey") || strings.Contains(got.body, "alice") && strings.Contains(got.body, "key/+") {
			t.Errorf("echo shows a key that was hidden in %s: %d %s", mime, got.status, got.body)
		}
	}
	secret := g.do(t, "GET", "/echo?a=1&APIKEY=canary", "", "Authorization", "Basic canary", "Cookie", "s=canary", "apikey", "canary")
	for _, part := range []string{`"authorization":"REDACTED"`, `"cookie":"REDACTED"`, `"apikey":"REDACTED"`, `"APIKEY":"REDACTED"`, `"a":"1"`} {
		if !strings.Contains(secret.body, part) || strings.Contains(secret.body, "canary") {
			t.Errorf("echo lacks %s, or shows a credential: %s", part, secret.body)
		}
	}
}
