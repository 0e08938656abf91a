package proxy_test

import (
	"context"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/proxy"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

func contextWithTimeout() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 5*time.Second)
}

func TestForwardTellsTheUpstream(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	list := []entity{
		o.service("s", func(m *configv1.Service) { m.Path = new("/base") }), route("foo", "s"),
		route("keep", "s", func(m *configv1.Route) { m.StripPath, m.PreserveHost = new(false), new(true) }),
	}
	local := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	tests := map[string]struct {
		options proxy.Options
		target  string
		headers []string
		uri     string
		want    map[string]string // "" means absent
	}{
		"a stranger": {
			target: "/foo/a%20b%2Fc?x=1&y",
			headers: []string{
				"Host", "shop.test", "X-Forwarded-For", "10.9.9.9", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "evil",
				"X-Real-IP", "6.6.6.6", "X-Forwarded-Prefix", "/evil", "X_Forwarded_Host", "evil", "Via", "1.0 fred", "Proxy", "http://evil",
			},
			uri: "/base/a%20b%2Fc?x=1&y",
			want: map[string]string{
				"X-Forwarded-For": "10.9.9.9, 127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "shop.test",
				"X-Forwarded-Path": "/foo/a%20b%2Fc", "X-Forwarded-Prefix": "/foo", "X-Real-Ip": "127.0.0.1", "Via": "1.0 fred, 1.1 keepgate",
				"Proxy": "", "X_forwarded_host": "", "X-Kong-Request-Id": "",
			},
		},
		"a trusted peer": {
			options: proxy.Options{TrustedIPs: local},
			target:  "/foo/",
			headers: []string{
				"X-Forwarded-For", "10.9.9.9", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "public.test", "X-Forwarded-Port", "444",
				"X-Forwarded-Prefix", "/outer", "X-Forwarded-Path", "/outer/foo/", "X-Real-IP", "10.9.9.9",
			},
			uri: "/base/",
			want: map[string]string{
				"X-Forwarded-For": "10.9.9.9, 127.0.0.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "public.test", "X-Forwarded-Port": "444",
				"X-Forwarded-Prefix": "/outer", "X-Forwarded-Path": "/outer/foo/", "X-Real-Ip": "10.9.9.9",
			},
		},
		"a chain of trusted peers": {
			options: proxy.Options{TrustedIPs: append(local, netip.MustParsePrefix("10.0.0.0/8")), RealIPHeader: "X-Forwarded-For", RealIPDeep: true},
			target:  "/keep", headers: []string{"X-Forwarded-For", "1.2.3.4, 9.9.9.9, 10.1.1.1"},
			uri:  "/base/keep",
			want: map[string]string{"X-Real-Ip": "9.9.9.9", "X-Forwarded-Prefix": ""},
		},
		"the client's host": {target: "/keep/x", headers: []string{"Host", "shop.test:99"}, uri: "/base/keep/x", want: map[string]string{"Host": "shop.test:99"}},
		"Kong's names": {
			options: proxy.Options{Names: proxy.KongNames}, target: "/foo", uri: "/base",
			want: map[string]string{"Via": "1.1 kong/3.8.1", "X-Keepgate-Request-Id": ""},
		},
		"identity headers of a client": {
			target: "/foo", headers: []string{"X-Consumer-Username", "root", "X_Consumer_ID", "1", "X-Credential-Identifier", "2", "X-Anonymous-Consumer", "true"}, uri: "/base",
			want: map[string]string{"X-Consumer-Username": "", "X_consumer_id": "", "X-Credential-Identifier": "", "X-Anonymous-Consumer": ""},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t, test.options, list...)
			got := g.do(t, "GET", test.target, "", test.headers...)
			if got.status != 200 || got.body != "GET "+test.uri+" " {
				t.Fatalf("got %d %q, want %q", got.status, got.body, test.uri)
			}
			seen := <-o.seen
			seen.Header["Host"] = []string{seen.Host}
			for name, want := range test.want {
				if values := strings.Join(seen.Header[name], " | "); values != want {
					t.Errorf("%s: %q, want %q", name, values, want)
				}
			}
		})
	}
}

func TestResponseHeaders(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	digits, id := regexp.MustCompile(`^\d+$`), regexp.MustCompile(`^[0-9a-f]{32}$`)
	none, err := proxy.ParseHeaders([]string{"off"})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		options  proxy.Options
		prefixes []string
		via      string
		server   string
	}{
		"ours":   {proxy.Options{}, []string{"X-Keepgate-"}, "1.1 keepgate", "keepgate/1.2.3"},
		"Kong's": {proxy.Options{Names: proxy.KongNames}, []string{"X-Kong-"}, "1.1 kong/3.8.1", "kong/3.8.1"},
		"both":   {proxy.Options{Names: proxy.BothNames}, []string{"X-Keepgate-", "X-Kong-"}, "1.1 keepgate", "keepgate/1.2.3"},
		"none":   {proxy.Options{Headers: none}, nil, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t, test.options, o.service("s"), route("foo", "s"))
			proxied, refused := g.do(t, "GET", "/foo", "").header, g.do(t, "GET", "/none", "").header
			for _, prefix := range test.prefixes {
				for header, form := range map[string]*regexp.Regexp{"Upstream-Latency": digits, "Proxy-Latency": digits, "Request-Id": id} {
					if value := proxied.Get(prefix + header); !form.MatchString(value) {
						t.Errorf("proxied: %s%s is %q", prefix, header, value)
					}
				}
				if !digits.MatchString(refused.Get(prefix+"Response-Latency")) || !id.MatchString(refused.Get(prefix+"Request-Id")) || refused.Get(prefix+"Proxy-Latency") != "" {
					t.Errorf("refused: %v", refused)
				}
			}
			if proxied.Get("Via") != test.via || refused.Get("Server") != test.server {
				t.Errorf("Via %q, Server %q; want %q, %q", proxied.Get("Via"), refused.Get("Server"), test.via, test.server)
			}
			if len(test.prefixes) < 2 {
				for header := range proxied {
					if strings.HasPrefix(header, "X-K") && (len(test.prefixes) == 0 || !strings.HasPrefix(header, test.prefixes[0])) {
						t.Errorf("unwanted header %s", header)
					}
				}
			}
		})
	}
}

func TestErrorsTakeTheFormAskedFor(t *testing.T) {
	t.Parallel()
	g := newGateway(t, proxy.Options{})
	for accept, want := range map[string]struct{ mime, body string }{
		"":                {"application/json; charset=utf-8", "{\n  \"message\":\"no Route matched with those values\",\n  \"request_id\":\"ID\"\n}"},
		"*/*":             {"application/json; charset=utf-8", "{\n  \"message\":\"no Route matched with those values\",\n  \"request_id\":\"ID\"\n}"},
		"text/plain":      {"text/plain; charset=utf-8", "no Route matched with those values\nrequest_id: ID\n"},
		"application/xml": {"application/xml; charset=utf-8", "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<error>\n  <message>no Route matched with those values</message>\n  <requestid>ID</requestid>\n</error>"},
		"application/json;q=0.2,text/plain;q=0.7": {"text/plain; charset=utf-8", "no Route matched with those values\nrequest_id: ID\n"},
	} {
		var headers []string
		if accept != "" {
			headers = []string{"Accept", accept}
		}
		got := g.do(t, "GET", "/none", "", headers...)
		body := strings.ReplaceAll(got.body, got.header.Get("X-Keepgate-Request-Id"), "ID")
		if got.status != 404 || got.header.Get("Content-Type") != want.mime || body != want.body {
			t.Errorf("Accept %q: %d %s %q", accept, got.status, got.header.Get("Content-Type"), body)
		}
	}
	html := g.do(t, "GET", "/none", "", "Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	if !strings.Contains(html.body, "<h1>Error</h1>") || !strings.Contains(html.body, "<p>no Route matched with those values.</p>") {
		t.Errorf("html: %s", html.body)
	}
}

func TestCasesThatFail(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	slow := newSlowOrigin(t)
	dead := deadPort(t)
	list := []entity{
		o.service("s"), route("noservice", ""),
		route("httpsonly", "s", func(m *configv1.Route) { m.Protocols = set("https") }),
		route("redirect", "s", func(m *configv1.Route) { m.Protocols, m.HttpsRedirectStatusCode = set("https"), new(int64(301)) }),
		{"services", "dead", &configv1.Service{Protocol: new("http"), Host: new("127.0.0.1"), Port: &dead}},
		route("refused", "dead"),
		{"services", "dns", &configv1.Service{Protocol: new("http"), Host: new("no-such-host.invalid"), Port: new(int64(80))}},
		route("dns", "dns"),
		slow.service("slow", func(m *configv1.Service) { m.ReadTimeout = new(int64(100)) }), route("slow", "slow"),
		{"upstreams", "u", &configv1.Upstream{Name: new("empty.up")}},
		{"services", "empty", &configv1.Service{Protocol: new("http"), Host: new("empty.up"), Port: new(int64(80))}},
		route("empty", "empty"),
		route("orphan", "gone"), route("off", "disabled"),
		o.service("disabled", func(m *configv1.Service) { m.Enabled = new(false) }),
		route("regex", "s", func(m *configv1.Route) { m.Paths = array("~/regex/(?=x)") }),
		plug(t, "p1", "no-such-plugin", &configv1.Ref{}, onRoute("unknown")), route("unknown", "s"),
		{"services", "tls", &configv1.Service{Protocol: new("https"), Host: new("127.0.0.1"), Port: &o.port, CaCertificates: array("missing")}},
		route("badca", "tls"),
	}
	g := newGateway(t, proxy.Options{}, list...)
	for name, test := range map[string]struct {
		target  string
		status  int
		message string
	}{
		"no route":                      {"/nothing", 404, "no Route matched with those values"},
		"route without service":         {"/noservice", 503, "no Service found with those values"},
		"name that does not resolve":    {"/dns", 503, "name resolution failed"},
		"upstream without targets":      {"/empty", 503, "failure to get a peer from the ring-balancer"},
		"connection refused":            {"/refused", 502, "An invalid response was received from the upstream server"},
		"upstream too slow":             {"/slow", 504, "The upstream server is timing out"},
		"https only":                    {"/httpsonly", 426, "Please use HTTPS protocol"},
		"https only, redirecting":       {"/redirect?a=b", 301, "Please use HTTPS protocol"},
		"service that does not exist":   {"/orphan", 503, "The configuration of this route cannot be used"},
		"unknown plugin":                {"/unknown", 503, "The configuration of this route cannot be used"},
		"expression that RE2 refuses":   {"/regex/x", 503, "The configuration of this route cannot be used"},
		"CA certificate that is absent": {"/badca", 503, "The configuration of this route cannot be used"},
		"disabled service":              {"/off", 404, "no Route matched with those values"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := g.do(t, "GET", test.target, "", "Accept", "application/json", "Host", "shop.test")
			if got.status != test.status || !strings.Contains(got.body, `"message":"`+test.message+`"`) {
				t.Fatalf("got %d %s", got.status, got.body)
			}
			switch test.status {
			case 426:
				if g.engine == http2 || g.engine == http2Std { // knows no Upgrade, RFC 9113 §8.2.2
					return
				}
				if got.header.Get("Upgrade") != "TLS/1.2, HTTP/1.1" || !strings.EqualFold(got.header.Get("Connection"), "Upgrade") {
					t.Errorf("headers %v", got.header)
				}
			case 301:
				if location := got.header.Get("Location"); location != "https://shop.test/redirect?a=b" {
					t.Errorf("Location %s", location)
				}
			}
		})
	}
}

func TestQuarantineIsReported(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	g := newGateway(t, proxy.Options{})
	quarantined := g.apply(t, o.service("s"), route("ok", "s"), route("orphan", "gone"), plug(t, "p1", "no-such-plugin", &configv1.Ref{}, onRoute("ok")),
		entity{"certificates", "c", &configv1.Certificate{Cert: new("x"), Key: new("secret-key")}}, entity{"certificates", "v", &configv1.Certificate{Cert: new("{vault://env/c}"), Key: new("{vault://env/k}")}})
	found := map[string]string{}
	for _, q := range quarantined {
		found[q.Kind+"/"+q.ID] = q.Reason
		if strings.Contains(q.Reason, "secret-key") {
			t.Error("a reason quotes a key")
		}
	}
	for _, subject := range []string{"routes/orphan", "plugins/p1", "certificates/c", "certificates/v"} {
		if found[subject] == "" {
			t.Errorf("%s is not reported: %v", subject, found)
		}
	}
	if len(found) != 4 {
		t.Errorf("reported %v", found)
	}
}

func newSlowOrigin(t *testing.T) *origin {
	t.Helper()
	o := newOrigin(t)
	o.Config.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(2 * time.Second):
		}
	})
	return o
}
