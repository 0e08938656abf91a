package cachecmd

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
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

// Environments beyond the first page are waited for too.
func TestEveryEnvironmentIsWaitedFor(t *testing.T) {
	t.Parallel()
	const pages = 3
	var waited []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		switch r.URL.Path {
		case "/proxy-cache":
			w.WriteHeader(http.StatusNoContent)
		case "/environments":
			page, _ := strconv.Atoi(strings.TrimPrefix(query.Get("offset"), "a b&"))
			offset := "null"
			if page < pages-1 {
				offset = fmt.Sprintf(`"a b&%d"`, page+1)
			}
			fmt.Fprintf(w, `{"data":[{"name":"e%d"},{"name":"f%d"}],"offset":%s}`, page, page, offset)
		case "/clustering/data-planes":
			if one := query.Get("environment"); !slices.Contains(waited, one) {
				waited = append(waited, one)
			}
			fmt.Fprint(w, `{"data":[],"newest":{"epoch":1,"version":4,"hash":"aa"},"revision":{"database":2,"published":2}}`)
		default:
			if name, of := strings.CutPrefix(r.URL.Path, "/environments/"); of {
				fmt.Fprintf(w, `{"name":%q}`, name)
				return
			}
			t.Errorf("asked for %s", r.URL)
		}
	}))
	defer server.Close()
	cmd, out := Command(), &bytes.Buffer{}
	cmd.SetArgs([]string{"purge", "--wait", "--admin-url", server.URL})
	cmd.SetOut(out)
	cmd.SetErr(&bytes.Buffer{})
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []string{"e0", "f0", "e1", "f1", "e2", "f2"}; !slices.Equal(waited, want) || strings.Count(out.String(), "\n") != 1+len(want) {
		t.Errorf("waited for %v and said\n%s", waited, out)
	}
}
