package admin_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/admin"
)

// FuzzRequest sends any body to any path. Whatever it is, it is answered and is nobody's bug: no panic, which
// would be a 500 here, and no refusal without a reason.
func FuzzRequest(f *testing.F) {
	methods := []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
	types := []string{jsonType, form, "multipart/form-data; boundary=b", yamlType, "", "x"}
	seeds := []struct{ path, body string }{
		{"/services", `{"host":"h","tags":["a"],"path":null}`},
		{"/services/x", "url=http://h:1/p&tags[]=a&tags[1]=b"},
		{"/routes", `{"paths":["~/a(?<n>.)"],"headers":{"x":["~*a"]},"service":{"name":"x"}}`},
		{"/plugins", "name=key-auth&config.key_names[1]=k&config[x]=y"},
		{"/consumers/x/key-auth", "key=a"},
		{"/consumers/x/basic-auth/y", `{"username":1,"password":{}}`},
		{"/upstreams/u/targets?offset=9&size=1", `{"target":"[::1]:80","weight":1e3}`},
		{"/certificates", `{"cert":"x","key":"y","snis":["a"]}`},
		{"/config?dry_run=1&flatten_errors=1", "_format_version: '3.0'\nservices: [{name: a, host: 1, routes: [x]}]"},
		{"/config", "--b\r\nContent-Disposition: form-data; name=config\r\n\r\nx\r\n--b--"},
		{"/schemas/plugins/validate", `{"name":"request-termination","config":{"status_code":99}}`},
		{"/w/tags/x?offset=e30", ""},
		{"/keyring/activate", "key=%24ke"},
	}
	for i, seed := range seeds {
		for method := range methods {
			f.Add(uint8(method), uint8(i%len(types)), seed.path, []byte(seed.body))
		}
		f.Add(uint8(1), uint8(0), seed.path, []byte(seed.body))
		f.Add(uint8(1), uint8(1), seed.path, []byte(seed.body))
		f.Add(uint8(2), uint8(3), seed.path, []byte(seed.body))
	}
	e := newEnv(f)
	e.made("/consumers", "username=x")
	e.made("/upstreams", "name=u")
	handler, err := admin.New(e.deps, admin.Options{Version: "1"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method, contentType uint8, path string, body []byte) {
		if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "/keyring/generate") {
			t.Skip()
		}
		request, err := http.NewRequestWithContext(t.Context(), methods[int(method)%len(methods)], "http://localhost"+path, strings.NewReader(string(body)))
		if err != nil {
			t.Skip()
		}
		if ct := types[int(contentType)%len(types)]; ct != "" {
			request.Header.Set("Content-Type", ct)
		}
		request.RemoteAddr = "127.0.0.1:1"
		response := httptest.NewRecorder()
		handler.ServeHTTP(response, request)
		if response.Code >= 500 {
			t.Errorf("%s %s: %d %s", request.Method, path, response.Code, response.Body)
		}
	})
}
