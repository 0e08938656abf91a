package cachecmd

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestWhatIsPurged(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		arguments []string
		want      string // the request, "" when there is none
	}{
		"all":              {nil, "DELETE /proxy-cache"},
		"a workspace":      {[]string{"--workspace", "a b"}, "DELETE /a%20b/proxy-cache"},
		"a plugin":         {[]string{"--plugin", "mine"}, "DELETE /proxy-cache/mine/caches"},
		"a key":            {[]string{"--key", "abc"}, "DELETE /proxy-cache/abc"},
		"a plugin's key":   {[]string{"--plugin", "mine", "--key", "abc"}, "DELETE /proxy-cache/mine/caches/abc"},
		"an empty key":     {[]string{"--key", ""}, ""},
		"an empty plugin":  {[]string{"--plugin="}, ""},
		"no time":          {[]string{"--timeout", "0s"}, ""},
		"something beside": {[]string{"all"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := ""
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got += r.Method + " " + r.URL.EscapedPath()
				w.WriteHeader(http.StatusNoContent)
			}))
			defer server.Close()
			cmd, out := Command(), &bytes.Buffer{}
			cmd.SetArgs(append([]string{"purge", "--admin-url", server.URL}, test.arguments...))
			cmd.SetOut(out)
			cmd.SetErr(&bytes.Buffer{})
			err := cmd.ExecuteContext(t.Context())
			if got != test.want || (err == nil) != (test.want != "") || strings.HasPrefix(out.String(), "purged") != (test.want != "") {
				t.Errorf("asked %q, said %q, %v", got, out, err)
			}
		})
	}
}
