package requesttransformer_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
)

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
