package process_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/shared/process"
)

// A status port that listens everywhere is asked by no address that is known for one of this machine: what the environment says of
// proxies must not lead there, nor a server that is not ours anywhere else. It runs alone: net/http reads the environment once.
func TestHTTPProbeAsksThisMachine(t *testing.T) {
	asked := make(chan string, 8)
	answer := func(name string, status int, to string) *httptest.Server {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked <- name
			if to != "" {
				w.Header().Set("Location", to)
			}
			w.WriteHeader(status)
		}))
		t.Cleanup(server.Close)
		return server
	}
	proxy, elsewhere := answer("the proxy", 503, ""), answer("elsewhere", 200, "")
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("NO_PROXY", "")
	port := func(s *httptest.Server) string { return ":" + strings.TrimPrefix(s.URL, "http://127.0.0.1:") }
	everywhere := func(s *httptest.Server) string { return "http://" + net.IPv4zero.String() + port(s) }
	if err := process.HTTPProbe(everywhere(answer("the port", 200, "")))(t.Context()); err != nil || <-asked != "the port" {
		t.Errorf("the probe said %v", err)
	}
	if err := process.HTTPProbe(everywhere(answer("the port", 302, elsewhere.URL)))(t.Context()); err == nil || <-asked != "the port" || len(asked) > 0 {
		t.Errorf("the probe said %v, and asked %d more", err, len(asked))
	}
}
