package proxy_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/keepgate/keepgate/dataplane/proxy"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// callee is a gRPC server that answers all four kinds of call.
type callee struct {
	testgrpc.UnimplementedTestServiceServer
	came chan struct{} // a call that waits has
	left chan error    // how it ended
}

func (c *callee) UnaryCall(ctx context.Context, in *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
	if s := in.GetResponseStatus(); s.GetCode() != 0 {
		return nil, status.Error(codes.Code(s.GetCode()), s.GetMessage())
	}
	if in.GetFillServerId() { // wait until the caller leaves
		c.came <- struct{}{}
		<-ctx.Done()
		c.left <- ctx.Err()
		return nil, ctx.Err()
	}
	got, _ := metadata.FromIncomingContext(ctx)
	_ = grpc.SetHeader(ctx, metadata.Pairs("x-head", strings.Join(got.Get("x-asked"), ","), "x-bin", strings.Join(got.Get("x-consumer-username"), ",")))
	_ = grpc.SetTrailer(ctx, metadata.Pairs("x-tail", "the end", "x-tail-bin", "\x00\xff"))
	return &testgrpc.SimpleResponse{Payload: in.GetPayload()}, nil
}

func (c *callee) StreamingInputCall(s testgrpc.TestService_StreamingInputCallServer) error {
	n := 0
	for {
		in, err := s.Recv()
		if err == io.EOF {
			return s.SendAndClose(&testgrpc.StreamingInputCallResponse{AggregatedPayloadSize: int32(n)})
		}
		if err != nil {
			return err
		}
		n += len(in.GetPayload().GetBody())
	}
}

func (c *callee) StreamingOutputCall(in *testgrpc.StreamingOutputCallRequest, s testgrpc.TestService_StreamingOutputCallServer) error {
	for _, p := range in.GetResponseParameters() {
		if err := s.Send(&testgrpc.StreamingOutputCallResponse{Payload: &testgrpc.Payload{Body: bytes.Repeat([]byte("x"), int(p.GetSize()))}}); err != nil {
			return err
		}
	}
	s.SetTrailer(metadata.Pairs("x-tail", "streamed"))
	if code := in.GetResponseStatus().GetCode(); code != 0 {
		return status.Error(codes.Code(code), in.GetResponseStatus().GetMessage())
	}
	return nil
}

func (c *callee) FullDuplexCall(s testgrpc.TestService_FullDuplexCallServer) error {
	for {
		in, err := s.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			c.left <- err
			return err
		}
		if err := s.Send(&testgrpc.StreamingOutputCallResponse{Payload: in.GetPayload()}); err != nil {
			return err
		}
	}
}

// newCallee starts the server and returns the service that leads to it.
func newCallee(t *testing.T, secure bool) (*callee, entity) {
	t.Helper()
	var options []grpc.ServerOption
	protocol := "grpc"
	if secure {
		certificate, _, _ := pair(t, "callee.test", false, nil)
		options = append(options, grpc.Creds(credentials.NewServerTLSFromCert(&certificate)))
		protocol = "grpcs"
	}
	c, s := &callee{came: make(chan struct{}, 10), left: make(chan error, 10)}, grpc.NewServer(append(options, grpc.MaxRecvMsgSize(8<<20))...)
	testgrpc.RegisterTestServiceServer(s, c)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
	m := &configv1.Service{Protocol: &protocol, Host: new("127.0.0.1"), Port: new(int64(l.Addr().(*net.TCPAddr).Port)), Retries: new(int64(1))}
	if secure {
		m.TlsVerify = new(false)
	}
	return c, entity{"services", "s", m}
}

func grpcRoute(change ...func(*configv1.Route)) entity {
	return route("r", "s", append([]func(*configv1.Route){func(m *configv1.Route) {
		m.Protocols, m.Paths = set("grpc", "grpcs"), array("/grpc.testing.TestService/")
	}}, change...)...)
}

// call dials the gateway.
func call(t *testing.T, url string, secure bool) testgrpc.TestServiceClient {
	t.Helper()
	with := insecure.NewCredentials()
	if secure {
		with = credentials.NewTLS(&tls.Config{InsecureSkipVerify: true})
	}
	conn, err := grpc.NewClient("passthrough:///"+strings.TrimPrefix(url, "http://"), grpc.WithTransportCredentials(with), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(8<<20)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return testgrpc.NewTestServiceClient(conn)
}

// frontH2 serves the gateway once more, over TLS with HTTP/2.
func (g *gateway) frontH2(t *testing.T) string {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	certificate, _, _ := pair(t, "gate.test", false, nil)
	l := tls.NewListener(inner, &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2", "http/1.1"}})
	s := http2.server(t, proxy.New(g.holder, proxy.Options{}))
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() {
		_ = l.Close()
		ctx, cancel := contextWithTimeout()
		defer cancel()
		_ = s.Shutdown(ctx)
		<-done
	})
	return inner.Addr().String()
}

// TestGRPC makes all four kinds of call with a real client and server, in clear and over TLS on both sides.
func TestGRPC(t *testing.T) {
	t.Parallel()
	for name, secure := range map[string]bool{"in clear": false, "over TLS": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, service := newCallee(t, secure)
			g := newGatewayOn(t, http2, proxy.Options{}, service, grpcRoute())
			url := g.url
			if secure {
				url = g.frontH2(t)
			}
			client := call(t, url, secure)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			for kind, test := range map[string]func(*testing.T, context.Context, testgrpc.TestServiceClient){
				"unary": unary, "errors": callErrors, "client streams": clientStreams, "server streams": serverStreams, "both stream": bothStream,
			} {
				t.Run(kind, func(t *testing.T) { test(t, ctx, client) })
			}
		})
	}
}

func unary(t *testing.T, ctx context.Context, client testgrpc.TestServiceClient) {
	for _, size := range []int{0, 1, 1000, 100_000, 3 << 20} {
		var head, tail metadata.MD
		body := bytes.Repeat([]byte("y"), size)
		out, err := client.UnaryCall(metadata.AppendToOutgoingContext(ctx, "x-asked", "this"), &testgrpc.SimpleRequest{Payload: &testgrpc.Payload{Body: body}}, grpc.Header(&head), grpc.Trailer(&tail))
		if err != nil || !bytes.Equal(out.GetPayload().GetBody(), body) {
			t.Fatalf("%d bytes: %d back, %v", size, len(out.GetPayload().GetBody()), err)
		}
		if fmt.Sprint(head.Get("x-head"), tail.Get("x-tail")) != "[this] [the end]" || tail.Get("x-tail-bin")[0] != "\x00\xff" {
			t.Fatalf("header %v, trailers %v", head, tail)
		}
	}
}

func callErrors(t *testing.T, ctx context.Context, client testgrpc.TestServiceClient) {
	_, err := client.UnaryCall(ctx, &testgrpc.SimpleRequest{ResponseStatus: &testgrpc.EchoStatus{Code: 9, Message: "not now, größer 100%"}})
	if status.Code(err) != codes.FailedPrecondition || status.Convert(err).Message() != "not now, größer 100%" {
		t.Errorf("%v", err)
	}
	if _, err := client.UnimplementedCall(ctx, &testgrpc.Empty{}); status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "method UnimplementedCall") {
		t.Errorf("%v", err)
	}
}

func clientStreams(t *testing.T, ctx context.Context, client testgrpc.TestServiceClient) {
	s, err := client.StreamingInputCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	want := 0
	for _, size := range []int{10, 70_000, 0, 500_000} {
		want += size
		if err := s.Send(&testgrpc.StreamingInputCallRequest{Payload: &testgrpc.Payload{Body: make([]byte, size)}}); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := s.CloseAndRecv(); err != nil || int(out.GetAggregatedPayloadSize()) != want {
		t.Fatalf("%v, %v; want %d", out, err, want)
	}
}

func serverStreams(t *testing.T, ctx context.Context, client testgrpc.TestServiceClient) {
	in := &testgrpc.StreamingOutputCallRequest{ResponseStatus: &testgrpc.EchoStatus{Code: 10, Message: "enough"}}
	sizes := []int32{5, 200_000, 0, 1}
	for _, size := range sizes {
		in.ResponseParameters = append(in.ResponseParameters, &testgrpc.ResponseParameters{Size: size})
	}
	s, err := client.StreamingOutputCall(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range sizes {
		if out, err := s.Recv(); err != nil || len(out.GetPayload().GetBody()) != int(size) {
			t.Fatalf("%d bytes, %v; want %d", len(out.GetPayload().GetBody()), err, size)
		}
	}
	if _, err := s.Recv(); status.Code(err) != codes.Aborted || status.Convert(err).Message() != "enough" || fmt.Sprint(s.Trailer().Get("x-tail")) != "[streamed]" {
		t.Fatalf("%v, trailers %v", err, s.Trailer())
	}
}

// bothStream waits for each answer before it sends on: nothing may be held back on the way.
func bothStream(t *testing.T, ctx context.Context, client testgrpc.TestServiceClient) {
	s, err := client.FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		body := bytes.Repeat([]byte{byte(i)}, i*1000)
		if err := s.Send(&testgrpc.StreamingOutputCallRequest{Payload: &testgrpc.Payload{Body: body}}); err != nil {
			t.Fatal(err)
		}
		if out, err := s.Recv(); err != nil || !bytes.Equal(out.GetPayload().GetBody(), body) {
			t.Fatalf("round %d: %d bytes, %v", i, len(out.GetPayload().GetBody()), err)
		}
	}
	_ = s.CloseSend()
	if _, err := s.Recv(); err != io.EOF {
		t.Fatal(err)
	}
}

// frame is a message as it stands in a body.
func frame(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}
