package responsetransformer_test

import (
	"compress/gzip"
	encoding "encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
	"github.com/keepgate/keepgate/dataplane/plugin/responsetransformer"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
	"github.com/keepgate/keepgate/shared/reserved"
)

func gate(t *testing.T, config string) *plugintest.Gate {
	t.Helper()
	g := plugintest.New(t, responsetransformer.New())
	g.Configure(`
services:
- name: s
  url: "{{origin}}"
  routes: [{name: r, paths: [/]}]
plugins: [{name: response-transformer, config: ` + config + `}]
`)
	return g
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		config string
		want   map[string][]string
	}{
		"nothing": {`{}`, map[string][]string{"X-A": {"1", "2"}, "X-B": {"3"}}},
		"remove":  {`{remove: {headers: [x-a, "x-b:4"]}}`, map[string][]string{}},
		"rename":  {`{rename: {headers: ["x-a:x-b", "x-no:x-c"]}}`, map[string][]string{"X-B": {"1", "2"}}},
		"replace": {`{replace: {headers: ["x-a:new", "x-c:new"]}}`, map[string][]string{"X-A": {"new"}, "X-B": {"3"}}},
		"add":     {`{add: {headers: ["x-a:new", "x-c:n:e:w"]}}`, map[string][]string{"X-A": {"1", "2"}, "X-B": {"3"}, "X-C": {"n:e:w"}}},
		"append":  {`{append: {headers: ["x-b:4", "x-c:5", "x-c:6"]}}`, map[string][]string{"X-A": {"1", "2"}, "X-B": {"3", "4"}, "X-C": {"5", "6"}}},
		"in order": {
			`{remove: {headers: [x-b]}, rename: {headers: ["x-a:x-b"]}, replace: {headers: ["x-b:r"]}, add: {headers: ["x-a:a"]}, append: {headers: ["x-b:z"]}}`,
			map[string][]string{"X-A": {"a"}, "X-B": {"r", "z"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := gate(t, test.config)
			g.Origin.Answer(func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["X-A"], w.Header()["X-B"] = []string{"1", "2"}, []string{"3"}
			})
			for _, engine := range plugintest.Engines() {
				got := map[string][]string{}
				for name, values := range g.Do(plugintest.Request{Engine: engine}).Header {
					if len(name) == len("X-A") && name[0] == 'X' {
						got[name] = values
					}
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("engine %q: %s", engine, diff)
				}
			}
		})
	}
}

const all = `{remove: {json: [gone]}, rename: {json: ["old:new"]}, replace: {json: ["rep:a\"b", "n:7"], json_types: [string, number]},
	add: {json: ["k:no", "t:true", "f:.5"], json_types: [string, boolean, number]}, append: {json: ["list:x", "one:2"], json_types: [string, number]}}`

func TestBody(t *testing.T) {
	t.Parallel()
	const changed = `{"rep":"a\"b","n":7,"k":1.50,"list":[1,"x"],"new":{"gone":1},"t":true,"f":0.5,"one":[2]}`
	object := `{"gone":1, "rep":null, "n":"6", "old":{"gone":1}, "k":1.50, "list":[1], "gone":2}`
	large := `{"k":1,"pad":"` + strings.Repeat("x", 1<<20) + `"`
	for name, test := range map[string]struct {
		media, coding, body string
		chunked             bool
		status              int
		want                string
	}{
		"an object":             {media: "application/json", body: object, want: changed},
		"with a charset":        {media: "Application/JSON ; charset=utf-8", body: object, want: changed},
		"in chunks":             {media: "application/json", body: object, chunked: true, want: changed},
		"identity":              {media: "application/json", coding: "identity", body: object, want: changed},
		"a large object":        {media: "application/json", body: large + "}", want: large + `,"t":true,"f":0.5,"list":["x"],"one":[2]}`},
		"a large one in chunks": {media: "application/json", body: large + "}", chunked: true, want: large + `,"t":true,"f":0.5,"list":["x"],"one":[2]}`},
		"an array":              {media: "application/json", body: `[{"gone":1}]`, want: `[{"gone":1}]`},
		"no JSON":               {media: "application/json", body: `{"gone":1`, want: `{"gone":1`},
		"nothing":               {media: "application/json"},
		"of another type":       {media: "application/problem+json", body: object, want: object},
		"of no type":            {media: "text/plain", body: object, want: object},
		"encoded":               {media: "application/json", coding: "gzip", body: object, want: object},
		"too large":             {media: "application/json", body: `{"gone":"` + strings.Repeat("x", 8<<20) + `"}`, status: 502},
		"too large in chunks":   {media: "application/json", body: `{"gone":"` + strings.Repeat("x", 9<<20) + `"}`, chunked: true, status: 502},
		"too many members":      {media: "application/json", body: `{` + strings.Repeat(`"":0,`, 50_000) + `"":0}`, status: 502},
		"partial":               {media: "application/json", body: object, status: 206, want: object},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := gate(t, all)
			g.Origin.Answer(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Accept-Encoding") != "identity" || r.Header.Get("Range") != "" {
					t.Errorf("asked for %q, range %q", r.Header.Get("Accept-Encoding"), r.Header.Get("Range"))
				}
				w.Header().Set("Content-Type", test.media)
				if test.coding != "" {
					w.Header().Set("Content-Encoding", test.coding)
				}
				if !test.chunked {
					w.Header().Set("Content-Length", strconv.Itoa(len(test.body)))
				}
				if test.status == 206 {
					w.WriteHeader(206)
				}
				for i := 0; i < len(test.body); i += 1 << 20 {
					_, _ = w.Write([]byte(test.body[i:min(i+1<<20, len(test.body))]))
					if test.chunked {
						w.(http.Flusher).Flush()
					}
				}
			})
			for _, engine := range plugintest.Engines() {
				reply := g.Do(plugintest.Request{Engine: engine, Headers: []string{"Accept-Encoding", "gzip", "Range", "bytes=0-1"}})
				status := max(200, test.status)
				if reply.Status != status || status != 502 && reply.Body != test.want {
					t.Errorf("engine %q: %d %.300q", engine, reply.Status, reply.Body)
				}
				if length := reply.Header.Get("Content-Length"); length != "" && length != strconv.Itoa(len(reply.Body)) {
					t.Errorf("engine %q: Content-Length %s of %d bytes", engine, length, len(reply.Body))
				}
			}
		})
	}
}

func TestHeadHasNoLength(t *testing.T) {
	t.Parallel()
	g := gate(t, all)
	g.Origin.Answer(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "99")
	})
	for _, engine := range plugintest.Engines() {
		reply := g.Do(plugintest.Request{Engine: engine, Method: "HEAD"})
		if reply.Status != 200 || reply.Header.Get("Content-Length") != "" {
			t.Errorf("engine %q: %d, length %q", engine, reply.Status, reply.Header.Get("Content-Length"))
		}
	}
}

// An upstream that breaks off in the middle is no answer.
func TestABodyThatBreaksOff(t *testing.T) {
	t.Parallel()
	g := gate(t, all)
	g.Origin.Answer(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "100000")
		_, _ = w.Write([]byte(`{"gone":"` + strings.Repeat("x", 50_000)))
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	for _, engine := range plugintest.Engines() {
		if reply := g.Do(plugintest.Request{Engine: engine}); reply.Status != 502 || strings.Contains(reply.Body, "gone") {
			t.Errorf("engine %q: %d %.100s", engine, reply.Status, reply.Body)
		}
	}
}

// What an upstream compresses although it was asked not to arrives as it was sent.
func TestCompressedAllTheSame(t *testing.T) {
	t.Parallel()
	g := gate(t, all)
	g.Origin.Answer(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write([]byte(`{"gone":1}`))
		_ = z.Close()
	})
	reply := g.Get("/")
	z, err := gzip.NewReader(strings.NewReader(reply.Body))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	buffer := make([]byte, 100)
	for n, err := z.Read(buffer); n > 0 || err == nil; n, err = z.Read(buffer) {
		text.Write(buffer[:n])
	}
	if text.String() != `{"gone":1}` {
		t.Errorf("got %q", text.String())
	}
}

func TestConfigurationsThatAreRefused(t *testing.T) {
	t.Parallel()
	list := func(entries ...string) *configv1.StringArray { return &configv1.StringArray{Values: entries} }
	add := func(entry, kind string) *pluginv1.ResponseTransformer {
		return &pluginv1.ResponseTransformer{Add: &pluginv1.TransformedResponse{Json: list(entry), JsonTypes: list(kind)}}
	}
	for name, c := range map[string]*pluginv1.ResponseTransformer{
		"no number":          add("a:one", "number"),
		"an infinite one":    add("a:Inf", "number"),
		"a quoted number":    add(`a:"1"`, "number"),
		"no boolean":         add("a:yes", "boolean"),
		"an unknown type":    add("a:1", "object"),
		"no value":           add("a:", "string"),
		"no name":            add(":1", "string"),
		"nothing removed":    {Remove: &pluginv1.RemovedResponse{Json: list("")}},
		"no new name":        {Rename: &pluginv1.RenamedResponse{Json: list("a")}},
		"no new header name": {Rename: &pluginv1.RenamedResponse{Headers: list("a:")}},
		"a bad name":         {Add: &pluginv1.TransformedResponse{Headers: list("a b:1")}},
		"two lines":          {Remove: &pluginv1.RemovedResponse{Headers: list("a\r\nb")}},
		"a length":           {Replace: &pluginv1.TransformedResponse{Headers: list("Content-Length:1")}},
		"a coding":           {Append: &pluginv1.TransformedResponse{Headers: list("transfer-encoding:chunked")}},
		"a hop":              {Rename: &pluginv1.RenamedResponse{Headers: list("a:Connection")}},
	} {
		body, err := proto.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if made, err := responsetransformer.New().New(body, plugintest.Env()); err == nil {
			t.Errorf("%s: made a %T", name, made)
		}
	}
}

// FuzzEntry: a configuration of any entries is refused or makes one member and one header line of each.
func FuzzEntry(f *testing.F) {
	f.Add("a:1", "number", "x-a:b")
	f.Add("a::\"\x00", "string", "x-a:b\r\nc: d")
	f.Add("\u0085:true", "boolean", ":")
	f.Fuzz(func(t *testing.T, json, kind, header string) {
		list := func(entry string) *configv1.StringArray { return &configv1.StringArray{Values: []string{entry}} }
		config, err := proto.Marshal(&pluginv1.ResponseTransformer{Add: &pluginv1.TransformedResponse{Json: list(json), JsonTypes: list(kind), Headers: list(header)}})
		if err != nil {
			return // not UTF-8
		}
		made, err := responsetransformer.New().New(config, plugintest.Env())
		if err != nil {
			return
		}
		ex := new(exchange.Exchange)
		ex.NeedSlots(4)
		ex.Response.Status, ex.Response.Origin, ex.Response.Body = 200, exchange.Upstream, []byte(`{}`)
		ex.Response.Header.Add("Content-Type", "application/json")
		made.(plugin.Responder).Response(ex, nil)
		var object map[string]any
		if err := encoding.Unmarshal(ex.Response.Body, &object); err != nil || len(object) != 1 {
			t.Fatalf("%q makes %q: %v", json, ex.Response.Body, err)
		}
		for name, value := range ex.Response.Header.All() {
			if !exchange.ValidName(name) || !exchange.ValidValue(value) || reserved.Frames(name) {
				t.Fatalf("header %q: %q", name, value)
			}
		}
	})
}
