package proxy_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/proxy"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// TestGRPCWeb calls from a browser's place, over HTTP/1.1 and HTTP/2.
func TestGRPCWeb(t *testing.T) {
	t.Parallel()
	_, service := newCallee(t, false)
	for _, on := range []engine{native, standard, http2} {
		for _, protocols := range [][]string{{"grpc", "grpcs"}, {"http", "https"}} {
			g := newGatewayOn(t, on, proxy.Options{}, service, grpcRoute(func(m *configv1.Route) { m.Protocols, m.StripPath = set(protocols...), new(false) }))
			for _, text := range []bool{false, true} {
				t.Run(fmt.Sprint(on, protocols, text), func(t *testing.T) { webCalls(t, g, text) })
			}
		}
	}
}

func webCalls(t *testing.T, g *gateway, text bool) {
	contentType := "application/grpc-web"
	if text {
		contentType = "application/grpc-web-text"
	}
	ask := func(path string, in proto.Message) (messages [][]byte, trailers string) {
		t.Helper()
		message, err := proto.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		body := string(frame(message))
		if text {
			body = base64.StdEncoding.EncodeToString([]byte(body))
		}
		got := g.do(t, "POST", path, body, "Content-Type", contentType+"+proto", "X-Grpc-Web", "1")
		if got.status != http.StatusOK || !strings.HasPrefix(got.header.Get("Content-Type"), contentType) || text != strings.Contains(got.header.Get("Content-Type"), "text") || got.header.Get("Grpc-Status") != "" {
			t.Fatalf("%+v", got)
		}
		raw := []byte(got.body)
		if text {
			raw = nil
			for rest := got.body; rest != ""; rest = rest[4:] {
				part, err := base64.StdEncoding.DecodeString(rest[:4])
				if err != nil {
					t.Fatal(err)
				}
				raw = append(raw, part...)
			}
		}
		for len(raw) > 0 {
			end := 5 + binary.BigEndian.Uint32(raw[1:])
			if raw[0]&0x80 != 0 {
				trailers = string(raw[5:end])
			} else {
				messages = append(messages, raw[5:end])
			}
			raw = raw[end:]
		}
		return messages, trailers
	}
	const service = "/grpc.testing.TestService/"
	payload := &testgrpc.Payload{Body: bytes.Repeat([]byte("web"), 30_000)}
	messages, trailers := ask(service+"UnaryCall", &testgrpc.SimpleRequest{Payload: payload})
	var out testgrpc.SimpleResponse
	if len(messages) != 1 || proto.Unmarshal(messages[0], &out) != nil || !proto.Equal(out.GetPayload(), payload) || !strings.Contains(trailers, "grpc-status:0\r\n") || !strings.Contains(trailers, "x-tail:the end\r\n") {
		t.Fatalf("unary: %d messages, trailers %q", len(messages), trailers)
	}
	if messages, trailers = ask(service+"UnaryCall", &testgrpc.SimpleRequest{ResponseStatus: &testgrpc.EchoStatus{Code: 5, Message: "no such"}}); len(messages) != 0 || !strings.Contains(trailers, "grpc-status:5\r\n") || !strings.Contains(trailers, "grpc-message:no such\r\n") {
		t.Fatalf("an error: %d messages, trailers %q", len(messages), trailers)
	}
	in := &testgrpc.StreamingOutputCallRequest{ResponseParameters: []*testgrpc.ResponseParameters{{Size: 3}, {Size: 100_000}, {Size: 0}}}
	if messages, trailers = ask(service+"StreamingOutputCall", in); len(messages) != 3 || !strings.Contains(trailers, "grpc-status:0\r\n") {
		t.Fatalf("a stream: %d messages, trailers %q", len(messages), trailers)
	}
	if messages, trailers = ask("/unknown.Service/Call", in); len(messages) != 0 || trailers != "grpc-status:12\r\ngrpc-message:no Route matched with those values\r\n" {
		t.Fatalf("no route: %d messages, trailers %q", len(messages), trailers)
	}
}

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
