package proxy_test

import (
	"encoding/base64"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/dataplane/proxy"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// A call from a browser ends in its own form too when there is no upstream to answer it.
func TestGRPCWebWithoutUpstream(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	service := entity{"services", "s", &configv1.Service{Protocol: new("grpc"), Host: new("127.0.0.1"), Port: new(int64(l.Addr().(*net.TCPAddr).Port)), Retries: new(int64(0))}}
	_ = l.Close()
	for _, on := range []engine{native, standard, http2} {
		g := newGatewayOn(t, on, proxy.Options{}, service, grpcRoute(func(m *configv1.Route) { m.StripPath = new(false) }))
		for contentType, text := range map[string]bool{"application/grpc-web+proto": false, "application/grpc-web-text": true} {
			body := "\x00\x00\x00\x00\x00"
			if text {
				body = base64.StdEncoding.EncodeToString([]byte(body))
			}
			got := g.do(t, "POST", "/grpc.testing.TestService/UnaryCall", body, "Content-Type", contentType)
			frame := got.body
			if text {
				raw, err := base64.StdEncoding.DecodeString(frame)
				if err != nil {
					t.Fatalf("%v %s: %+v", on, contentType, got)
				}
				frame = string(raw)
			}
			said := got.header.Get("Content-Type")
			if got.status != http.StatusOK || !strings.HasPrefix(said, "application/grpc-web") || text != strings.Contains(said, "text") || !strings.Contains(frame, "grpc-status:14\r\n") {
				t.Errorf("%v %s: %+v", on, contentType, got)
			}
		}
	}
}
