package requesttransformer_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
	"github.com/keepgate/keepgate/dataplane/plugin/requesttransformer"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
)

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
		"form of many":         {quiet, form, strings.Repeat("&", 50_000), 413, ""},
		"form left alone":      {quiet, form, "a=%zz&&b", 200, "a=%zz&&b"},
		"json":                 {all, json, `{"gone":1, "k":1.50, "old":[1], "rep":null, "app":"1", "gone":2}`, 200, `{"k":1.50,"rep":"v\"&","app":["1","2"],"new":[1],"add":"1"}`},
		"json without a body":  {all, json, "", 200, `{"add":"1","app":["2"]}`},
		"json of many":         {quiet, json, "{" + strings.Repeat(`"":0,`, 50_000) + `"":0}`, 413, ""},
		"json left alone":      {quiet, json, ` { "a" : 1 } `, 200, ` { "a" : 1 } `},
		"json array":           {all, json, `[{"gone":1}]`, 200, `[{"gone":1}]`},
		"no json":              {quiet, json, `{"gone":1}x`, 400, ""},
		"half json":            {quiet, "APPLICATION/JSON", `{"gone":1`, 400, ""},
		"text":                 {all, "text/plain", `{"gone":1}`, 200, `{"gone":1}`},
		"json of another kind": {all, "application/json-seq", `{"gone":1}`, 200, `{"gone":1}`},
		"multipart": {
			all, "multipart/form-data; boundary=B", parts("gone", "1", "old", "a", "rep", "1", "k", "x", "app", "1"), 200,
			parts("new", "a", "rep", `v"&`, "k", "x", "app", "1", "add", "1", "app", "2"),
		},
		"multipart left alone":       {quiet, "multipart/form-data; boundary=B", "preamble\r\n" + parts("k", "x"), 200, "preamble\r\n" + parts("k", "x")},
		"multipart without boundary": {quiet, "multipart/form-data", parts("k", "x"), 400, ""},
		"multipart cut off":          {quiet, "multipart/form-data; boundary=B", "--B\r\nContent-Disposition: form-data; name=gone\r\n\r\n1", 400, ""},
		"multipart, file": {
			`{rename: {body: ["f:g"]}}`, "multipart/form-data; boundary=B", "--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x.txt\"\r\nContent-Type: text/plain\r\n\r\nhello\r\n--B--\r\n", 200,
			"--B\r\nContent-Disposition: form-data; filename=x.txt; name=g\r\nContent-Type: text/plain\r\n\r\nhello\r\n--B--\r\n",
		},
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

// A body above the bound is refused before it is read.
func TestLargeBodies(t *testing.T) {
	t.Parallel()
	config, err := proto.Marshal(&pluginv1.RequestTransformer{Remove: &pluginv1.TransformedRequest{Body: &configv1.StringArray{Values: []string{"a"}}}})
	if err != nil {
		t.Fatal(err)
	}
	made, err := requesttransformer.New().New(config, plugintest.Env())
	if err != nil {
		t.Fatal(err)
	}
	for length, status := range map[int64]int{1 << 20: 0, 1<<20 + 1: 413, -1: 413} {
		body := strings.NewReader(`{"b":"` + strings.Repeat("x", 2<<20) + `"}`)
		if length == 1<<20 {
			body = strings.NewReader(`{"b":"` + strings.Repeat("x", 1<<20-8) + `"}`)
		}
		ex := new(exchange.Exchange)
		ex.NeedSlots(4)
		ex.Request.Header.Add("Content-Type", "application/json")
		ex.Request.Body, ex.Request.ContentLength = body, length
		made.(plugin.Accesser).Access(ex, nil)
		if ex.Response.Status != status {
			t.Errorf("length %d: answered %d, want %d", length, ex.Response.Status, status)
		}
		if length > 0 && status == 413 && body.Len() != int(body.Size()) {
			t.Errorf("length %d: some of it was read", length)
		}
	}
}
