package cors_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/dataplane/plugin/cors"
	"github.com/keepgate/keepgate/dataplane/plugin/keyauth"
	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
)

const route = `services: [{name: s, url: "{{origin}}", routes: [{name: r, paths: [/]}]}]` + "\n"

// said is what a reply says about origins, as "Name: value" without the common prefix.
func said(reply plugintest.Reply) []string {
	lines := []string{}
	for name, values := range reply.Header {
		for _, value := range values {
			if short, found := strings.CutPrefix(name, "Access-Control-"); found {
				lines = append(lines, short+": "+value)
			}
			if name == "Vary" {
				lines = append(lines, name+": "+value)
			}
		}
	}
	slices.Sort(lines)
	return lines
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	const vary = "Vary: Origin"
	allow := func(origin string) []string { return []string{"Allow-Origin: " + origin, vary} }
	none := []string{vary}
	tests := map[string]struct {
		config, origin string
		want           []string
	}{
		"everybody":                        {`{}`, "https://a.example", []string{"Allow-Origin: *"}},
		"everybody, by name":               {`{origins: ["*"]}`, "https://a.example", []string{"Allow-Origin: *"}},
		"everybody, no origin":             {`{}`, "", []string{"Allow-Origin: *"}},
		"everybody with credentials":       {`{credentials: true}`, "https://a.example", []string{"Allow-Credentials: true", "Allow-Origin: https://a.example", vary}},
		"credentials and no origin":        {`{credentials: true}`, "", allow("*")},
		"a single one":                     {`{origins: [https://a.example]}`, "https://a.example", allow("https://a.example")},
		"a single one, asked by another":   {`{origins: [https://a.example]}`, "https://b.example", allow("https://a.example")},
		"a single one, unasked":            {`{origins: [https://a.example]}`, "", allow("https://a.example")},
		"one of two":                       {`{origins: [https://a.example, https://b.example]}`, "https://b.example", allow("https://b.example")},
		"none of two":                      {`{origins: [https://a.example, https://b.example]}`, "https://c.example", none},
		"none of two, unasked":             {`{origins: [https://a.example, https://b.example]}`, "", none},
		"another scheme":                   {`{origins: [https://a.example, https://b.example]}`, "http://a.example", none},
		"another port":                     {`{origins: [https://a.example, https://b.example]}`, "https://a.example:8443", none},
		"its own port":                     {`{origins: [https://a.example:443, https://b.example]}`, "https://a.example", allow("https://a.example")},
		"a port that goes without saying":  {`{origins: [https://a.example, https://b.example]}`, "https://a.example:443", allow("https://a.example:443")},
		"upper case":                       {`{origins: [https://A.example, https://b.example]}`, "HTTPS://a.EXAMPLE", allow("HTTPS://a.EXAMPLE")},
		"a longer host":                    {`{origins: [https://a.example, https://b.example]}`, "https://a.example.evil.example", none},
		"no origin at all":                 {`{origins: [https://a.example, https://b.example]}`, "null", none},
		"an expression":                    {`{origins: ['https://.*\.a\.example']}`, "https://x.a.example", allow("https://x.a.example")},
		"an expression is about the whole": {`{origins: ['https://.*\.a\.example']}`, "https://x.a.example.evil.example", none},
		"and of all its branches":          {`{origins: ['https://a\.example|https://b\.example']}`, "https://a.example.evil.example", none},
		"an expression for hosts":          {`{origins: ['(.*\.)?a\.example']}`, "http://x.a.example:8080", allow("http://x.a.example:8080")},
		"an expression for hosts alone":    {`{origins: ['(.*\.)?a\.example']}`, "https://evil.example/x.a.example", none},
		"a dot is a dot":                   {`{origins: ['(.*\.)?a\.example']}`, "https://a-example", none},
		"* among others":                   {`{origins: ["*", https://a.example]}`, "https://b.example", allow("https://b.example")},
		"credentials for one of two":       {`{origins: [https://a.example, https://b.example], credentials: true}`, "https://b.example", []string{"Allow-Credentials: true", "Allow-Origin: https://b.example", vary}},
		"no credentials for none of two":   {`{origins: [https://a.example, https://b.example], credentials: true}`, "https://c.example", none},
		"exposed headers":                  {`{exposed_headers: [X-A, X-B]}`, "https://a.example", []string{"Allow-Origin: *", "Expose-Headers: X-A,X-B"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := plugintest.New(t, cors.Kind{})
			g.Configure(route + "plugins: [{name: cors, config: " + test.config + "}]")
			g.Origin.Answer(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Access-Control-Allow-Origin", "https://upstream.example")
				w.WriteHeader(204)
			})
			headers := []string{}
			if test.origin != "" {
				headers = []string{"Origin", test.origin}
			}
			if diff := cmp.Diff(test.want, said(g.Get("/", headers...))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPreflight(t *testing.T) {
	t.Parallel()
	const all = "Allow-Methods: GET,HEAD,PUT,PATCH,POST,DELETE,OPTIONS,TRACE,CONNECT"
	asked := []string{"Origin", "https://a.example", "Access-Control-Request-Method", "PUT"}
	tests := map[string]struct {
		config  string
		headers []string
		want    []string
		passed  bool
	}{
		"plain":              {`{}`, asked, []string{all, "Allow-Origin: *"}, false},
		"headers come back":  {`{}`, append(slices.Clone(asked), "Access-Control-Request-Headers", "x-a, x-b"), []string{"Allow-Headers: x-a, x-b", all, "Allow-Origin: *", "Vary: Access-Control-Request-Headers"}, false},
		"headers are said":   {`{headers: [X-C, X-D]}`, append(slices.Clone(asked), "Access-Control-Request-Headers", "x-a"), []string{"Allow-Headers: X-C,X-D", all, "Allow-Origin: *"}, false},
		"methods and age":    {`{methods: [GET, PUT], max_age: 3600}`, asked, []string{"Allow-Methods: GET,PUT", "Allow-Origin: *", "Max-Age: 3600"}, false},
		"a private network":  {`{private_network: true}`, append(slices.Clone(asked), "Access-Control-Request-Private-Network", "true"), []string{all, "Allow-Origin: *", "Allow-Private-Network: true"}, false},
		"no private network": {`{}`, append(slices.Clone(asked), "Access-Control-Request-Private-Network", "true"), []string{all, "Allow-Origin: *"}, false},
		"not for this one":   {`{origins: [https://b.example, https://c.example], credentials: true}`, asked, []string{all, "Vary: Origin"}, false},
		"left to the origin": {`{preflight_continue: true}`, asked, []string{"Allow-Origin: *"}, true},
		"no method asked":    {`{}`, asked[:2], []string{"Allow-Origin: *"}, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := plugintest.New(t, cors.Kind{}, keyauth.Kind{})
			auth := ""
			if !test.passed {
				auth = "- {name: key-auth}\n" // a preflight request bears no credentials
			}
			g.Configure(route + "plugins:\n" + auth + "- {name: cors, config: " + test.config + "}\n")
			reply := g.Do(plugintest.Request{Method: "OPTIONS", Headers: test.headers})
			if reply.Status != 200 || (g.Origin.Requests() > 0) != test.passed {
				t.Fatalf("%d %q, %d requests upstream", reply.Status, reply.Body, g.Origin.Requests())
			}
			if !test.passed && reply.Body != "" {
				t.Errorf("a body: %q", reply.Body)
			}
			if diff := cmp.Diff(test.want, said(reply)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A refusal of the gateway can be read by the page that caused it.
func TestRefusalsCanBeRead(t *testing.T) {
	t.Parallel()
	g := plugintest.New(t, cors.Kind{}, keyauth.Kind{})
	g.Configure(route + "plugins: [{name: key-auth}, {name: cors}]")
	if reply := g.Get("/", "Origin", "https://a.example"); reply.Status != 401 || reply.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("%d %v", reply.Status, reply.Header)
	}
}

// A name that is in Vary already is not added.
func TestVary(t *testing.T) {
	t.Parallel()
	g := plugintest.New(t, cors.Kind{})
	g.Configure(route + "plugins: [{name: cors, config: {credentials: true}}]")
	for sent, want := range map[string][]string{"": {"Origin"}, "Accept": {"Accept", "Origin"}, "accept, ORIGIN": {"accept, ORIGIN"}, "*": {"*"}} {
		g.Origin.Answer(func(w http.ResponseWriter, _ *http.Request) {
			if sent != "" {
				w.Header().Set("Vary", sent)
			}
		})
		if diff := cmp.Diff(want, g.Get("/", "Origin", "https://a.example").Header.Values("Vary")); diff != "" {
			t.Errorf("%q: %s", sent, diff)
		}
	}
}
