package proxy_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/proxy"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// What the gateway says by itself arrives as a gRPC client understands it.
func TestGRPCRefusals(t *testing.T) {
	t.Parallel()
	_, service := newCallee(t, false)
	fp := newKeys()
	base := []entity{service, fp.entity(), consumer("c", "alice"), fp.credential("k", "c", "secret")}
	down := entity{"services", "s", &configv1.Service{Protocol: new("grpc"), Host: new("127.0.0.1"), Port: new(int64(1)), Retries: new(int64(0))}}
	for name, test := range map[string]struct {
		list    []entity
		code    codes.Code
		message string
	}{
		"no route":             {nil, codes.Unimplemented, "no Route matched with those values"},
		"no service":           {[]entity{route("r", "", func(m *configv1.Route) { m.Protocols = set("grpc"); m.Paths = array("/") })}, codes.Unavailable, "no Service found with those values"},
		"no key":               {append(slices.Clone(base), grpcRoute(), plug(t, "p", "key-auth", keyAuth())), codes.Unauthenticated, "No API key found in request"},
		"the upstream is down": {[]entity{down, grpcRoute()}, codes.Unavailable, "An invalid response was received from the upstream server"},
		"only over TLS":        {append(slices.Clone(base), grpcRoute(func(m *configv1.Route) { m.Protocols = set("grpcs") })), codes.Canceled, "gRPC request matched gRPCs route"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGatewayOn(t, http2, proxy.Options{}, test.list...)
			client := call(t, g.url, false)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			_, err := client.UnaryCall(ctx, &testgrpc.SimpleRequest{})
			if status.Code(err) != test.code || status.Convert(err).Message() != test.message {
				t.Errorf("%v, want %v: %s", err, test.code, test.message)
			}
		})
	}
	t.Run("with a key", func(t *testing.T) {
		t.Parallel()
		g := newGatewayOn(t, http2, proxy.Options{}, append(slices.Clone(base), grpcRoute(), plug(t, "p", "key-auth", keyAuth()))...)
		ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "apikey", "secret"), 30*time.Second)
		defer cancel()
		var head metadata.MD
		if _, err := call(t, g.url, false).UnaryCall(ctx, &testgrpc.SimpleRequest{}, grpc.Header(&head)); err != nil || fmt.Sprint(head.Get("x-bin")) != "[alice]" {
			t.Errorf("%v, %v", err, head)
		}
	})
}

// Requests that are no gRPC are told so in plain HTTP.
func TestGRPCRoutesWantGRPC(t *testing.T) {
	t.Parallel()
	_, service := newCallee(t, false)
	const path = "/grpc.testing.TestService/UnaryCall"
	for _, on := range []engine{native, standard, http2} {
		g := newGatewayOn(t, on, proxy.Options{}, service, grpcRoute())
		if got := g.do(t, "POST", path, "{}", "Content-Type", "application/json"); got.status != 415 || !strings.Contains(got.body, "Non-gRPC request matched gRPC route") {
			t.Errorf("%s: %+v", on, got)
		}
		if got := g.do(t, "GET", path, ""); got.status != 415 {
			t.Errorf("%s: %+v", on, got)
		}
		if got := g.do(t, "OPTIONS", path, "", "Origin", "http://a", "Access-Control-Request-Method", "POST"); got.status != 415 {
			t.Errorf("%s: %+v", on, got)
		}
		if on == http2 {
			continue
		}
		got := g.do(t, "POST", path, "\x00\x00\x00\x00\x00", "Content-Type", "application/grpc")
		if got.status != 426 || !strings.Contains(got.body, "Please use HTTP2 protocol") || got.header.Get("Upgrade") != "HTTP/2" || got.header.Get("Connection") != "Upgrade" {
			t.Errorf("%s: %+v", on, got)
		}
	}
}

// A call that its client gives up ends at the upstream too, and a deadline is kept for a client that would not keep it itself.
func TestGRPCEnds(t *testing.T) {
	t.Parallel()
	c, service := newCallee(t, false)
	g := newGatewayOn(t, http2, proxy.Options{}, service, grpcRoute())
	waiting := func(ctx context.Context) error {
		_, err := call(t, g.url, false).UnaryCall(ctx, &testgrpc.SimpleRequest{FillServerId: true})
		return err
	}
	// On a busy machine the time may be over before a call came to the upstream.
	left := func() {
		select {
		case <-c.came:
			<-c.left
		default:
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-c.came
		c.came <- struct{}{}
		cancel()
	}()
	if err := waiting(ctx); status.Code(err) != codes.Canceled {
		t.Errorf("cancelled: %v", err)
	}
	left()
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := waiting(ctx); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("too late: %v", err)
	}
	left()
	message, _ := proto.Marshal(&testgrpc.SimpleRequest{FillServerId: true})
	got := g.do(t, "POST", "/grpc.testing.TestService/UnaryCall", string(frame(message)), "Content-Type", "application/grpc", "Grpc-Timeout", "50m", "Te", "trailers")
	if got.status != 200 || got.header.Get("Grpc-Status") != "4" {
		t.Errorf("a client without a clock: %+v", got)
	}
	left()
}
