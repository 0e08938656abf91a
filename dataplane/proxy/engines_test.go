package proxy_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1"
	"github.com/keepgate/keepgate/dataplane/http1/std"
	"github.com/keepgate/keepgate/dataplane/http2server"
)

// engine is what stands between a test's client and the proxy.
type engine string

const (
	native   engine = "native"         // our own HTTP/1.1
	standard engine = "standard"       // the standard library's HTTP/1.1
	http2    engine = "http2"          // our own HTTP/2
	http2Std engine = "http2-standard" // the standard library's HTTP/2

	// And over TLS.
	nativeTLS   engine = "native-tls"
	standardTLS engine = "standard-tls"
	http2TLS    engine = "http2-tls"
)

// everyEngine names the parent of the tests that run on another engine than the native one.
const everyEngine = "TestOnEveryEngine"

// engineOf is the engine that a test runs on; its name says.
func engineOf(t testing.TB) engine {
	parts := strings.Split(t.Name(), "/")
	if parts[0] == everyEngine && len(parts) > 1 {
		return engine(parts[1])
	}
	return native
}

// TestOnEveryEngine runs the end-to-end tests once more on the other servers. By themselves they run
// on the native engine. What is raw HTTP/1.1 stays out of HTTP/2.
func TestOnEveryEngine(t *testing.T) {
	t.Parallel()
	both := map[string]func(*testing.T){
		"TestForwardTellsTheUpstream": TestForwardTellsTheUpstream, "TestResponseHeaders": TestResponseHeaders,
		"TestErrorsTakeTheFormAskedFor": TestErrorsTakeTheFormAskedFor, "TestCasesThatFail": TestCasesThatFail,
		"TestUpstreamTLS": TestUpstreamTLS, "TestBodyLimit": TestBodyLimit, "TestLargeBodiesStream": TestLargeBodiesStream,
		"TestRetriesReachALiveTarget": TestRetriesReachALiveTarget, "TestOnlyIdempotentRequestsAreRepeated": TestOnlyIdempotentRequestsAreRepeated,
		"TestSwapLosesNoRequest": TestSwapLosesNoRequest, "TestKeyAuth": TestKeyAuth, "TestBasicAuth": TestBasicAuth,
		"TestBasicAuthOverflows": TestBasicAuthOverflows, "TestRequestTermination": TestRequestTermination,
		"TestUpstreamsThatMisbehave": TestUpstreamsThatMisbehave,
	}
	raw := map[string]func(*testing.T){
		"TestWebSocketPassesThrough": TestWebSocketPassesThrough, "TestSilentTunnelsEnd": TestSilentTunnelsEnd, "TestWebSocket": TestWebSocket,
		"TestWebSocketDrains": TestWebSocketDrains, "TestHalfClosedTunnels": TestHalfClosedTunnels,
		"TestRequestBuffering": TestRequestBuffering, "TestBufferedBodiesThatFail": TestBufferedBodiesThatFail,
		"TestPathsThatClimb":     TestPathsThatClimb,
		"TestHeadersThatSmuggle": TestHeadersThatSmuggle, "TestHostsAndMethods": TestHostsAndMethods,
	}
	for _, on := range []engine{standard, http2, http2Std} {
		t.Run(string(on), func(t *testing.T) {
			t.Parallel()
			for name, test := range both {
				t.Run(name, test)
			}
			for name, test := range raw {
				if on == standard {
					t.Run(name, test)
				}
			}
		})
	}
}

// server is what all servers have in common.
type server interface {
	Serve(l net.Listener) error
	Shutdown(ctx context.Context) error
}

func (e engine) server(t testing.TB, handler exchange.Handler) server {
	panicked := func(v any, stack []byte) { t.Errorf("panic: %v\n%s", v, stack) }
	switch e {
	case native, nativeTLS:
		return http1.New(handler, http1.Options{Panicked: panicked})
	case http2, http2TLS:
		return http2server.New(handler, http2server.Options{Panicked: panicked})
	}
	return std.New(handler, std.Options{})
}

// secure says whether clients come over TLS.
func (e engine) secure() bool { return strings.HasSuffix(string(e), "-tls") }

// transport is a client's end.
func (e engine) transport() *http.Transport {
	transport := &http.Transport{DisableCompression: true, Protocols: new(http.Protocols), TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	switch e {
	case http2, http2Std:
		transport.Protocols.SetUnencryptedHTTP2(true)
	case http2TLS:
		transport.Protocols.SetHTTP2(true)
	default:
		transport.Protocols.SetHTTP1(true)
	}
	return transport
}
