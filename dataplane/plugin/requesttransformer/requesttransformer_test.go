package requesttransformer_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
	"github.com/keepgate/keepgate/dataplane/plugin/requesttransformer"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
)

func gate(t *testing.T, config string) *plugintest.Gate {
	t.Helper()
	g := plugintest.New(t, requesttransformer.New())
	g.Configure(`
services:
- name: s
  url: "{{origin}}/base"
  routes:
  - {name: plain, paths: [/plain]}
  - {name: users, paths: ["~/users/(?<id>[^/]+)/(?<rest>.*)$"]}
plugins: [{name: request-transformer, config: ` + config + `}]
`)
	return g
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		config string
		sent   []string
		want   map[string][]string // what the origin gets under names that begin with X
		host   string
	}{
		"remove":                {`{remove: {headers: [x-a, "x-b:ignored"]}}`, []string{"X-A", "1", "x-a", "2", "X-B", "3", "X-C", "4"}, map[string][]string{"X-C": {"4"}}, ""},
		"rename":                {`{rename: {headers: ["x-a:X-B", "x-no:x-c"]}}`, []string{"X-A", "1", "X-B", "old", "X-A", "2", "X-C", "3"}, map[string][]string{"X-B": {"1", "2"}, "X-C": {"3"}}, ""},
		"rename to itself":      {`{rename: {headers: ["x-a:X-A"]}}`, []string{"X-A", "1"}, map[string][]string{"X-A": {"1"}}, ""},
		"replace":               {`{replace: {headers: ["x-a:new", "x-b:new"]}}`, []string{"X-A", "1", "X-A", "2"}, map[string][]string{"X-A": {"new"}}, ""},
		"add":                   {`{add: {headers: ["x-a:new", "x-b:a:b"]}}`, []string{"X-A", "1"}, map[string][]string{"X-A": {"1"}, "X-B": {"a:b"}}, ""},
		"append":                {`{append: {headers: ["x-a:2", "x-b:3", "x-b::4"]}}`, []string{"X-A", "1"}, map[string][]string{"X-A": {"1", "2"}, "X-B": {"3", "4"}}, ""},
		"in order":              {`{remove: {headers: [x-a]}, rename: {headers: ["x-b:x-a"]}, replace: {headers: ["x-a:r-$(headers.x_b)"]}, add: {headers: ["x-b:$(headers.x_a)"]}, append: {headers: ["x-a:last"]}}`, []string{"X-A", "1", "X-B", "2"}, map[string][]string{"X-A": {"r-2", "last"}, "X-B": {"1"}}, ""},
		"host":                  {`{replace: {headers: ["host:other.test:81"]}}`, nil, map[string][]string{}, "other.test:81"},
		"host of a value":       {`{replace: {headers: ["Host:$(headers.x_a).test"]}}`, []string{"X-A", "al"}, map[string][]string{"X-A": {"al"}}, "al.test"},
		"templates":             {`{add: {headers: ['x-r:[$(headers["X-a"])$(headers.x_b or "none")|$(query_params.q)|$(query_params["no"])|$(shared.s)|$5]']}}`, []string{"X-A", "1"}, map[string][]string{"X-A": {"1"}, "X-R": {"[1none|q r|||$5]"}}, ""},
		"no second line":        {`{add: {headers: ["x-r:$(query_params.crlf)"]}}`, nil, map[string][]string{"X-R": {"a  X-Evil: 1"}}, ""},
		"an identity is read":   {`{remove: {headers: [x-consumer-id]}, add: {headers: ["x-r:($(headers.x_consumer_id))"]}}`, []string{"X-Consumer-ID", "forged"}, map[string][]string{"X-R": {"()"}}, ""},
		"the host is read":      {`{add: {headers: ["x-r:$(headers.host)"]}}`, []string{"Host", "shop.test:8080"}, map[string][]string{"X-R": {"shop.test:8080"}}, ""},
		"captures of no groups": {`{add: {headers: ["x-r:$(uri_captures.id)|"]}}`, nil, map[string][]string{"X-R": {"|"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := gate(t, test.config)
			for _, engine := range plugintest.Engines() {
				echo := g.Do(plugintest.Request{Engine: engine, Target: "/plain?q=q+r&crlf=a%0D%0AX-Evil:%201", Headers: test.sent}).Echo(t)
				got := map[string][]string{}
				for name, values := range echo.Header {
					if strings.HasPrefix(name, "X-") && !strings.HasPrefix(name, "X-Forwarded") && !strings.HasPrefix(name, "X-Keepgate") && name != "X-Real-Ip" {
						got[name] = values
					}
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("engine %q: %s", engine, diff)
				}
				if test.host != "" && echo.Host != test.host {
					t.Errorf("engine %q: host %q", engine, echo.Host)
				}
			}
		})
	}
}

func TestQuery(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ config, query, want string }{
		"nothing to do":   {`{replace: {querystring: ["z:1"]}}`, "?b=%zz&a=1&&c", "?b=%zz&a=1&&c"},
		"remove all":      {`{remove: {querystring: [a, "b:x"]}}`, "?%61=1&c=%7e&a&b=2", "?c=%7e"},
		"remove the last": {`{remove: {querystring: [a]}}`, "?a=1", ""},
		"rename":          {`{rename: {querystring: ["a:b", "x:c"]}}`, "?b=0&a=1+2&c=3&a", "?b=1%202&c=3&b="},
		"replace":         {`{replace: {querystring: ["a:x&y=z#", "q:1"]}}`, "?a=1&b=2&a=3", "?a=x%26y%3Dz%23&b=2"},
		"add":             {`{add: {querystring: ["a:new", "ü b:new"]}}`, "?a=1", "?a=1&%C3%BC%20b=new"},
		"add to nothing":  {`{add: {querystring: ["a:$(query_params.none or 'v\n&')"]}}`, "", "?a=v%0A%26"},
		"append":          {`{append: {querystring: ["a:2", "b:3"]}}`, "?a=1", "?a=1&a=2&b=3"},
		"values came so":  {`{remove: {querystring: [a]}, add: {querystring: ["b:$(query_params.a)"]}}`, "?a=x%26y", "?b=x%26y"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := gate(t, test.config)
			echo := g.Get("/plain" + test.query).Echo(t)
			if got := strings.TrimPrefix(echo.URI, "/base"); got != test.want && got != "/"+test.want {
				t.Errorf("%s became %s, want %s", test.query, echo.URI, test.want)
			}
		})
	}
}

func TestPath(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		uri, target string
		headers     []string
		status      int
		want        string
	}{
		"constant":              {"/new//./x", "/plain/a?q=1", nil, 200, "/new/x?q=1"},
		"root":                  {"/", "/plain", nil, 200, "/"},
		"captures":              {"/u/$(uri_captures.id)/$(uri_captures[2])", "/users/al%2Fbo/a/b%20c", nil, 200, "/u/al%2Fbo/a/b%20c"},
		"no such capture":       {"/u/$(uri_captures.none)/x", "/users/al/a", nil, 200, "/u/x"},
		"a header":              {"/u/$(headers.x_a)", "/plain", []string{"X-A", "50%25?x#y/ü"}, 200, "/u/50%2525%3Fx%23y/%C3%BC"},
		"a parameter":           {"/u/$(query_params.p)", "/plain?p=%2e%2f", nil, 400, ""},
		"climbing":              {"/u/$(headers.x_a)/x", "/plain", []string{"X-A", "../admin"}, 400, ""},
		"climbing in pieces":    {"/u/.$(headers.x_a)/x", "/plain", []string{"X-A", "."}, 400, ""},
		"climbing by backslash": {"/u/$(headers.x_a)", "/plain", []string{"X-A", `..\admin`}, 400, ""},
		"climbing by parameter": {"/u/$(headers.x_a)", "/plain", []string{"X-A", "..;a/b"}, 400, ""},
		"no slash":              {"$(headers.x_a)", "/plain", []string{"X-A", "a"}, 400, ""},
		"a whole path":          {"$(headers.x_a)", "/plain", []string{"X-A", "/a//b"}, 200, "/a/b"},
		"nothing":               {"$(headers.x_a)", "/plain", nil, 400, ""},
		"a second line":         {"/u/$(query_params.p)", "/plain?p=a%0D%0Ab%00", nil, 200, "/u/a%0D%0Ab%00?p=a%0D%0Ab%00"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := gate(t, `{replace: {uri: '`+test.uri+`'}}`)
			for _, engine := range plugintest.Engines() {
				reply := g.Do(plugintest.Request{Engine: engine, Target: test.target, Headers: test.headers})
				if reply.Status != test.status {
					t.Errorf("engine %q: %d %s", engine, reply.Status, reply.Body)
				} else if reply.Status == 200 && reply.Echo(t).URI != test.want {
					t.Errorf("engine %q: the origin was asked for %q, want %q", engine, reply.Echo(t).URI, test.want)
				}
			}
		})
	}
}

func TestBody(t *testing.T) {
	t.Parallel()
	const (
		form  = "application/x-www-form-urlencoded"
		json  = "application/json; charset=utf-8"
		all   = `{remove: {body: [gone]}, rename: {body: ["old:new"]}, replace: {body: ["rep:$(headers.x_v)"]}, add: {body: ["add:1"]}, append: {body: ["app:2"]}}`
		quiet = `{remove: {body: [gone]}, replace: {body: ["rep:1"]}}`
	)
	for name, test := range map[string]struct {
		config, media, body string
		status              int
		want                string
	}{
		"form":                 {all, form, "gone=1&k=%7E&old=a+b&rep=1&rep=2&app=1", 200, "k=%7E&new=a%20b&rep=v%22%26&app=1&add=1&app=2"},
		"form without a body":  {all, form, "", 200, "add=1&app=2"},
		"form left alone":      {quiet, form, "a=%zz&&b", 200, "a=%zz&&b"},
		"json":                 {all, json, `{"gone":1, "k":1.50, "old":[1], "rep":null, "app":"1", "gone":2}`, 200, `{"k":1.50,"rep":"v\"&","app":["1","2"],"new":[1],"add":"1"}`},
		"json without a body":  {all, json, "", 200, `{"add":"1","app":["2"]}`},
		"json left alone":      {quiet, json, ` { "a" : 1 } `, 200, ` { "a" : 1 } `},
		"json array":           {all, json, `[{"gone":1}]`, 200, `[{"gone":1}]`},
		"no json":              {quiet, json, `{"gone":1}x`, 400, ""},
		"half json":            {quiet, "APPLICATION/JSON", `{"gone":1`, 400, ""},
		"large json":           {quiet, json, `{"a":"` + strings.Repeat("x", 1<<20) + `"}`, 413, ""},
		"text":                 {all, "text/plain", `{"gone":1}`, 200, `{"gone":1}`},
		"json of another kind": {all, "application/json-seq", `{"gone":1}`, 200, `{"gone":1}`},
		"multipart": {all, "multipart/form-data; boundary=B", parts("gone", "1", "old", "a", "rep", "1", "k", "x", "app", "1"), 200,
			parts("new", "a", "rep", `v"&`, "k", "x", "app", "1", "add", "1", "app", "2")},
		"multipart left alone":       {quiet, "multipart/form-data; boundary=B", "preamble\r\n" + parts("k", "x"), 200, "preamble\r\n" + parts("k", "x")},
		"multipart without boundary": {quiet, "multipart/form-data", parts("k", "x"), 400, ""},
		"multipart cut off":          {quiet, "multipart/form-data; boundary=B", "--B\r\nContent-Disposition: form-data; name=gone\r\n\r\n1", 400, ""},
		"multipart, file": {`{rename: {body: ["f:g"]}}`, "multipart/form-data; boundary=B", "--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x.txt\"\r\nContent-Type: text/plain\r\n\r\nhello\r\n--B--\r\n", 200,
			"--B\r\nContent-Disposition: form-data; filename=x.txt; name=g\r\nContent-Type: text/plain\r\n\r\nhello\r\n--B--\r\n"},
		"multipart, a value that ends its part": {`{add: {body: ["a:$(query_params.evil)"]}}`, "multipart/form-data; boundary=B", parts("k", "x"), 400, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := gate(t, test.config)
			for _, engine := range plugintest.Engines() {
				reply := g.Do(plugintest.Request{
					Engine: engine, Method: "POST", Target: "/plain?evil=x%0D%0A--B%0D%0A", Body: test.body, Headers: []string{"Content-Type", test.media, "X-V", `v"&`},
				})
				if reply.Status != test.status {
					t.Errorf("engine %q: %d %s", engine, reply.Status, reply.Body)
				} else if reply.Status == 200 {
					if diff := cmp.Diff(test.want, reply.Echo(t).Body); diff != "" {
						t.Errorf("engine %q: %s", engine, diff)
					}
				}
			}
		})
	}
}

// parts is a multipart body of names and values.
func parts(pairs ...string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		b.WriteString("--B\r\nContent-Disposition: form-data; name=" + pairs[i] + "\r\n\r\n" + pairs[i+1] + "\r\n")
	}
	return b.String() + "--B--\r\n"
}

func TestEncodedBodiesAreRefused(t *testing.T) {
	t.Parallel()
	g := gate(t, `{remove: {body: [gone]}}`)
	send := func(coding string) int {
		return g.Do(plugintest.Request{Method: "POST", Target: "/plain", Body: `{"a":1}`, Headers: []string{"Content-Type", "application/json", "Content-Encoding", coding}}).Status
	}
	if send("gzip") != 415 || send("identity") != 200 {
		t.Error("gzip is not refused, or identity is")
	}
}

// The upstream's method is not the client's, and the answers stay framed for the client's: a wrong frame would spoil the next one
// on the connection.
func TestMethod(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ client, upstream string }{{"GET", "POST"}, {"HEAD", "GET"}, {"GET", "HEAD"}, {"POST", "DELETE"}, {"HEAD", "HEAD"}} {
		g := gate(t, `{http_method: `+test.upstream+`}`)
		g.Origin.Answer(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Method", r.Method)
			_, _ = w.Write([]byte("hello"))
		})
		body := "hello"
		if test.client == "HEAD" || test.upstream == "HEAD" {
			body = ""
		}
		for _, engine := range plugintest.Engines() {
			transport := &http.Transport{Protocols: new(http.Protocols), MaxConnsPerHost: 1}
			transport.Protocols.SetHTTP1(engine == plugintest.HTTP1)
			transport.Protocols.SetUnencryptedHTTP2(engine == plugintest.HTTP2)
			t.Cleanup(transport.CloseIdleConnections)
			for range 3 {
				status, method, got := ask(t, transport, test.client, g.URL(engine)+"/plain")
				if status != 200 || method != test.upstream || got != body {
					t.Errorf("engine %q: %s as %s: %d %s %q", engine, test.client, test.upstream, status, method, got)
				}
			}
		}
	}
}

func ask(t *testing.T, transport *http.Transport, method, url string) (status int, upstream, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header.Get("X-Method"), string(content)
}

func TestFormsAreAskedForInTheQuery(t *testing.T) {
	t.Parallel()
	g := gate(t, `{http_method: GET}`)
	for target, want := range map[string]string{"/plain?a=1": "/base?a=1&b=2%0A&c=", "/plain": "/base?b=2%0A&c="} {
		echo := g.Do(plugintest.Request{Method: "POST", Target: target, Body: "b=2\n&c", Headers: []string{"Content-Type", "application/x-www-form-urlencoded"}}).Echo(t)
		if echo.Method != "GET" || echo.URI != want {
			t.Errorf("%s: %s %s, want %s", target, echo.Method, echo.URI, want)
		}
	}
}

func TestConfigurationsThatAreRefused(t *testing.T) {
	t.Parallel()
	list := func(entries ...string) *configv1.StringArray { return &configv1.StringArray{Values: entries} }
	headers := func(entries ...string) *pluginv1.TransformedRequest {
		return &pluginv1.TransformedRequest{Headers: list(entries...)}
	}
	for name, test := range map[string]struct {
		config *pluginv1.RequestTransformer
		says   string
	}{
		"no value":         {&pluginv1.RequestTransformer{Add: headers("x-a")}, "key 'x-a' has no value"},
		"only colons":      {&pluginv1.RequestTransformer{Append: &pluginv1.TransformedRequest{Body: list("a::")}}, "key 'a' has no value"},
		"no new name":      {&pluginv1.RequestTransformer{Rename: &pluginv1.TransformedRequest{Querystring: list("a:")}}, "key 'a' has no value"},
		"no name":          {&pluginv1.RequestTransformer{Replace: &pluginv1.ReplacedRequest{Body: list(":v")}}, "no name"},
		"nothing removed":  {&pluginv1.RequestTransformer{Remove: headers("")}, "no name"},
		"a bad name":       {&pluginv1.RequestTransformer{Remove: headers("x a")}, "not the name of a header"},
		"a bad new name":   {&pluginv1.RequestTransformer{Rename: headers("a:x\r\ny")}, "not the name of a header"},
		"a length":         {&pluginv1.RequestTransformer{Add: headers("Content-Length:5")}, "gateway's own"},
		"a coding":         {&pluginv1.RequestTransformer{Replace: &pluginv1.ReplacedRequest{Headers: list("transfer_encoding:chunked")}}, "gateway's own"},
		"a hop":            {&pluginv1.RequestTransformer{Append: headers("connection:x-a")}, "gateway's own"},
		"an identity":      {&pluginv1.RequestTransformer{Rename: headers("x-a:x_consumer_username")}, "gateway's own"},
		"a credential":     {&pluginv1.RequestTransformer{Add: headers("X-Credential-Identifier:me")}, "gateway's own"},
		"a certificate":    {&pluginv1.RequestTransformer{Replace: &pluginv1.ReplacedRequest{Headers: list("x-client-cert-dn:cn=me")}}, "gateway's own"},
		"another host":     {&pluginv1.RequestTransformer{Add: headers("host:a")}, "gateway's own"},
		"no template":      {&pluginv1.RequestTransformer{Add: headers("x-a:$(headers.")}, "not in supported format"},
		"Lua":              {&pluginv1.RequestTransformer{Add: headers(`x-a:$(headers["x"]:sub(1,3))`)}, "not in supported format"},
		"an unknown table": {&pluginv1.RequestTransformer{Add: headers("x-a:$(os.exit)")}, "not in supported format"},
		"no slash":         {&pluginv1.RequestTransformer{Replace: &pluginv1.ReplacedRequest{Uri: new("x")}}, "slash"},
		"no path":          {&pluginv1.RequestTransformer{Replace: &pluginv1.ReplacedRequest{Uri: new("/x?y")}}, "not a path"},
		"no first part":    {&pluginv1.RequestTransformer{Replace: &pluginv1.ReplacedRequest{Uri: new("/%zz/$(headers.a)")}}, "not a path"},
		"a tunnel":         {&pluginv1.RequestTransformer{HttpMethod: new("CONNECT")}, "not forwarded"},
		"no method":        {&pluginv1.RequestTransformer{HttpMethod: new("GET / HTTP/1.1\r\n")}, "not a method"},
	} {
		body, err := proto.Marshal(test.config)
		if err != nil {
			t.Fatal(err)
		}
		made, err := requesttransformer.New().New(body, plugintest.Env())
		if err == nil {
			t.Errorf("%s: made a %T", name, made)
		} else if !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
