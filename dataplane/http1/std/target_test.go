package std_test

import (
	"io"
	"net/http"
	"net/url"
	"testing"
)

// What the native engine refuses in a target or a Host is refused from HTTP/2 clients too.
func TestHTTP2Targets(t *testing.T) {
	t.Parallel()
	origin, _, c, base := h2(t)
	for name, test := range map[string]struct {
		change func(r *http.Request)
		status int
	}{
		"plain":              {func(*http.Request) {}, 200},
		"a fragment":         {func(r *http.Request) { r.URL.Opaque = "/x?y#z" }, 400},
		"a blank":            {func(r *http.Request) { r.URL.Opaque = "/x?y z" }, 400},
		"authority in path":  {func(r *http.Request) { r.Host, r.URL.Opaque = "a.test", "http://b.test/x" }, 400},
		"a bad authority":    {func(r *http.Request) { r.Host = "a@b.test" }, 400},
		"a dot in its place": {func(r *http.Request) { r.URL.Opaque = "/a/..;/x" }, 400},
		"CONNECT":            {func(r *http.Request) { r.Method, r.URL = "CONNECT", &url.URL{Scheme: "http", Host: r.URL.Host} }, 501},
	} {
		before := len(origin.Seen())
		request, _ := http.NewRequestWithContext(t.Context(), "GET", base+"/x", nil)
		test.change(request)
		response, err := c.Do(request)
		if err != nil {
			t.Logf("%s: %v", name, err) // refused by the frame layer, or by the client itself
			if test.status == 200 {
				t.Errorf("%s: %v", name, err)
			}
		} else {
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
			if response.StatusCode != test.status {
				t.Errorf("%s: %d, want %d", name, response.StatusCode, test.status)
			}
		}
		if reached := len(origin.Seen()) > before; reached != (test.status == 200) {
			t.Errorf("%s: reached the origin: %v", name, reached)
		}
	}
}
