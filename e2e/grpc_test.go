package e2e_test

import (
	"context"
	"crypto/tls"
	"errors"
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
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/keepgate/keepgate/e2e/harness"
)

// All four kinds of call pass the gate, in clear and over TLS, to upstreams in clear and over TLS, with metadata,
// trailers, statuses, cancellation and deadlines; plugins guard them and say no in gRPC's way.
func TestGRPC(t *testing.T) {
	t.Parallel()
	c, keys := harness.New(t), newPKI(t)
	keys.authority("ca")
	keys.issue("ca", "api", "/CN=api.example", "DNS:localhost,IP:127.0.0.1")
	plain := newTestService(t)
	secure := newTestService(t, grpc.Creds(credentials.NewServerTLSFromCert(new(keys.pair("api")))))
	cp := c.ControlPlane("cp")
	cp.Start()
	dp := c.DataPlane("edge", cp, "--ssl-trusted-certificate", keys.file("ca.crt"))
	dp.SetFlag("--proxy-listen", dp.Proxy+" http2, "+dp.TLS+" http2 ssl")
	dp.Launch()
	cp.Admin().Push(fmt.Sprintf(`_format_version: "3.0"
services:
- name: plain
  url: grpc://%s
  routes: [{name: plain, protocols: [grpc, grpcs], hosts: [plain.example], paths: [/grpc.testing.TestService/]}]
- name: secure
  url: grpcs://%s
  routes: [{name: secure, protocols: [grpc, grpcs], hosts: [secure.example], paths: [/grpc.testing.TestService/]}]
- name: guarded
  url: grpc://%s
  routes: [{name: guarded, protocols: [grpc, grpcs], hosts: [guarded.example], paths: [/]}]
  plugins: [{name: key-auth}]
consumers:
- {username: alice, keyauth_credentials: [{key: a-key-for-grpc}]}
`, plain.address, secure.address, plain.address))
	dp.Await(415, "/", "Host", "guarded.example") // HTTP/1.1 is no gRPC
	for _, over := range []string{"clear", "TLS"} {
		for _, host := range []string{"plain.example", "secure.example", "guarded.example"} {
			t.Run(over+" to "+host, func(t *testing.T) {
				t.Parallel()
				client := grpcClient(t, dp, over == "TLS", host)
				ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
				defer cancel()
				if host == "guarded.example" {
					if _, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{}); status.Code(err) != codes.Unauthenticated {
						t.Errorf("without a key: %v", err)
					}
					ctx = metadata.AppendToOutgoingContext(ctx, "apikey", "a-key-for-grpc")
				}
				everyCall(ctx, t, client)
			})
		}
	}
}

func grpcClient(t *testing.T, dp *harness.DataPlane, overTLS bool, host string) grpc_testing.TestServiceClient {
	t.Helper()
	address, creds := dp.Proxy, insecure.NewCredentials()
	if overTLS {
		address, creds = dp.TLS, credentials.NewTLS(&tls.Config{InsecureSkipVerify: true, ServerName: host}) // the self-signed default
	}
	connection, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(creds), grpc.WithAuthority(host))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	return grpc_testing.NewTestServiceClient(connection)
}

func payload(text string) *grpc_testing.Payload { return &grpc_testing.Payload{Body: []byte(text)} }

// everyCall makes all four kinds of call and looks at what else a call carries.
func everyCall(ctx context.Context, t *testing.T, client grpc_testing.TestServiceClient) {
	large := strings.Repeat("keepgate ", 50_000)
	var header, trailer metadata.MD
	said, err := client.UnaryCall(metadata.AppendToOutgoingContext(ctx, "x-ask", "1", "x-ask-bin", "\x00\xff"),
		&grpc_testing.SimpleRequest{Payload: payload(large)}, grpc.Header(&header), grpc.Trailer(&trailer))
	if err != nil || string(said.GetPayload().GetBody()) != large || fmt.Sprint(header.Get("x-said")) != "[1]" || fmt.Sprint(trailer.Get("x-end-bin")) != "[\x00\xff]" {
		t.Errorf("unary: %d bytes, header %v, trailer %v, %v", len(said.GetPayload().GetBody()), header, trailer, err)
	}
	_, err = client.UnaryCall(ctx, &grpc_testing.SimpleRequest{ResponseStatus: &grpc_testing.EchoStatus{Code: int32(codes.DataLoss), Message: "gone: 100% ü"}})
	if s := status.Convert(err); s.Code() != codes.DataLoss || s.Message() != "gone: 100% ü" {
		t.Errorf("a status comes as %v", err)
	}
	if _, err := client.UnimplementedCall(ctx, &grpc_testing.Empty{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("an unknown method: %v", err)
	}
	down, err := client.StreamingOutputCall(ctx, &grpc_testing.StreamingOutputCallRequest{Payload: payload("abc")})
	if err != nil {
		t.Fatal(err)
	}
	if got := drained(down); got != "a b c EOF" {
		t.Errorf("server streaming: %s", got)
	}
	up, err := client.StreamingInputCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := up.Send(&grpc_testing.StreamingInputCallRequest{Payload: payload("1234567")}); err != nil {
			t.Fatal(err)
		}
	}
	if sum, err := up.CloseAndRecv(); err != nil || sum.GetAggregatedPayloadSize() != 21 {
		t.Errorf("client streaming: %v, %v", sum, err)
	}
	pingPong(ctx, t, client)
	brokenOff(ctx, t, client)
}

// drained is what a stream said, and how it ended.
func drained(stream grpc.ServerStreamingClient[grpc_testing.StreamingOutputCallResponse]) string {
	var said []string
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return strings.Join(append(said, "EOF"), " ")
		}
		if err != nil {
			return strings.Join(append(said, err.Error()), " ")
		}
		said = append(said, string(message.GetPayload().GetBody()))
	}
}

// pingPong: each answer must come before the next question is asked, so nothing on the way may wait for more.
func pingPong(ctx context.Context, t *testing.T, client grpc_testing.TestServiceClient) {
	t.Helper()
	stream, err := client.FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if err := stream.Send(&grpc_testing.StreamingOutputCallRequest{Payload: payload(fmt.Sprint(i))}); err != nil {
			t.Fatalf("question %d: %v", i, err)
		}
		answer, err := stream.Recv()
		if err != nil || string(answer.GetPayload().GetBody()) != fmt.Sprint(i) {
			t.Fatalf("answer %d: %v, %v", i, answer, err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the end: %v", err)
	}
}

// brokenOff: what the client gives up ends at the server too, by cancellation and by deadline.
func brokenOff(ctx context.Context, t *testing.T, client grpc_testing.TestServiceClient) {
	t.Helper()
	given, giveUp := context.WithCancel(ctx)
	stream, err := client.FullDuplexCall(given)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&grpc_testing.StreamingOutputCallRequest{Payload: payload("x")}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	giveUp()
	if _, err := stream.Recv(); status.Code(err) != codes.Canceled {
		t.Errorf("cancelled: %v", err)
	}
	soon, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if _, err := client.UnaryCall(soon, &grpc_testing.SimpleRequest{FillUsername: true}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("past the deadline: %v", err)
	}
}

// testService is grpc.testing's service, as far as the calls above need it.
type testService struct {
	grpc_testing.UnimplementedTestServiceServer
	address string
	open    chan int // how many duplex calls are open
}

func newTestService(t *testing.T, options ...grpc.ServerOption) *testService {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &testService{address: listener.Addr().String(), open: make(chan int, 1)}
	s.open <- 0
	server := grpc.NewServer(options...)
	grpc_testing.RegisterTestServiceServer(server, s)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() {
		harness.Eventually(t, "the end of every call", func() string { // before the server stops: that would end them too
			n := <-s.open
			s.open <- n
			if n != 0 {
				return fmt.Sprintf("%d are open", n)
			}
			return ""
		})
		server.Stop()
	})
	return s
}

func (s *testService) count(by int) { s.open <- <-s.open + by }

func (s *testService) UnaryCall(ctx context.Context, ask *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	asked, _ := metadata.FromIncomingContext(ctx)
	if err := grpc.SetHeader(ctx, metadata.Pairs("x-said", strings.Join(asked.Get("x-ask"), ","))); err != nil {
		return nil, err
	}
	if err := grpc.SetTrailer(ctx, metadata.Pairs("x-end-bin", strings.Join(asked.Get("x-ask-bin"), ","))); err != nil {
		return nil, err
	}
	if ask.GetFillUsername() { // never answers
		s.count(1)
		defer s.count(-1)
		<-ctx.Done()
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	if s := ask.GetResponseStatus(); s != nil {
		return nil, status.Error(codes.Code(s.GetCode()), s.GetMessage())
	}
	return &grpc_testing.SimpleResponse{Payload: ask.GetPayload()}, nil
}

func (s *testService) StreamingOutputCall(ask *grpc_testing.StreamingOutputCallRequest, stream grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]) error {
	for _, b := range ask.GetPayload().GetBody() {
		if err := stream.Send(&grpc_testing.StreamingOutputCallResponse{Payload: payload(string(b))}); err != nil {
			return err
		}
	}
	return nil
}

func (s *testService) StreamingInputCall(stream grpc.ClientStreamingServer[grpc_testing.StreamingInputCallRequest, grpc_testing.StreamingInputCallResponse]) error {
	sum := 0
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(&grpc_testing.StreamingInputCallResponse{AggregatedPayloadSize: int32(sum)})
		}
		if err != nil {
			return err
		}
		sum += len(part.GetPayload().GetBody())
	}
}

func (s *testService) FullDuplexCall(stream grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]) error {
	s.count(1)
	defer s.count(-1)
	for {
		ask, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&grpc_testing.StreamingOutputCallResponse{Payload: ask.GetPayload()}); err != nil {
			return err
		}
	}
}
