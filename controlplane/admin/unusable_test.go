package admin_test

import (
	"strings"
	"testing"
)

// What gates would refuse of a plugin or a vault is refused where it is written, by the API and in files alike.
func TestWhatGatesWouldRefuseIsRefusedFirst(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for name, test := range map[string]struct{ path, entity, want string }{
		"a media type": {"plugins", `{"name":"proxy-cache","config":{"strategy":"memory","content_type":["json"]}}`, "content_type: 'json' is no media type"},
		"a name":       {"plugins", `{"name":"proxy-cache","config":{"strategy":"memory","vary_headers":["a b"]}}`, "vary_headers: 'a b' is not the name of a header"},
		"a value":      {"plugins", `{"name":"http-log","config":{"http_endpoint":"http://h","headers":{"X-Key":"CANARY\r\nX: y"}}}`, "the value of the header 'X-Key' holds a control character"},
		"a URL":        {"vaults", `{"name":"hcv","prefix":"team","config":{"host":"https://vault.example:8200","token":"hvs.CANARY"}}`, "must be a host alone, as example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if a := e.post("/"+test.path, test.entity); a.status != 400 || !strings.Contains(a.text, test.want) || strings.Contains(a.text, "CANARY") {
				t.Errorf("the API: %d %s", a.status, a.text)
			}
			file := "_format_version: '3.0'\n" + test.path + ": [" + test.entity + "]\n"
			if a := e.push("", file); a.status != 400 || !strings.Contains(a.text, test.want) || strings.Contains(a.text, "CANARY") {
				t.Errorf("a file: %d %s", a.status, a.text)
			}
		})
	}
}
