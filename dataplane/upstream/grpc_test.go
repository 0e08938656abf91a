package upstream_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/dataplane/upstream"
)

// origin is a gRPC service.
type origin struct {
	pb.UnimplementedTestServiceServer
	left chan error // why a held call ended
}

func (o *origin) UnaryCall(ctx context.Context, in *pb.SimpleRequest) (*pb.SimpleResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	_ = grpc.SetHeader(ctx, metadata.Pairs("x-head", strings.Join(md["x-ask"], ",")))
	_ = grpc.SetTrailer(ctx, metadata.Pairs("x-tail", "t", "x-tail-bin", "\x00\xff"))
	if s := in.GetResponseStatus(); s.GetCode() != 0 {
		return nil, status.Error(codes.Code(s.GetCode()), s.GetMessage())
	}
	return &pb.SimpleResponse{Payload: in.GetPayload()}, nil
}

func (o *origin) StreamingOutputCall(in *pb.StreamingOutputCallRequest, out grpc.ServerStreamingServer[pb.StreamingOutputCallResponse]) error {
	for _, p := range in.GetResponseParameters() {
		if err := out.Send(&pb.StreamingOutputCallResponse{Payload: &pb.Payload{Body: make([]byte, p.GetSize())}}); err != nil {
			return err
		}
	}
	if len(in.GetResponseParameters()) == 0 { // held until the client goes
		_ = out.Send(&pb.StreamingOutputCallResponse{})
		<-out.Context().Done()
		o.left <- out.Context().Err()
	}
	return nil
}

func (o *origin) StreamingInputCall(in grpc.ClientStreamingServer[pb.StreamingInputCallRequest, pb.StreamingInputCallResponse]) error {
	total := 0
	for {
		m, err := in.Recv()
		if err == io.EOF {
			return in.SendAndClose(&pb.StreamingInputCallResponse{AggregatedPayloadSize: int32(total)})
		}
		if err != nil {
			return err
		}
		if total += len(m.GetPayload().GetBody()); total > 4<<20 {
			return status.Error(codes.ResourceExhausted, "enough") // while the client is still sending
		}
	}
}

func (o *origin) FullDuplexCall(both grpc.BidiStreamingServer[pb.StreamingOutputCallRequest, pb.StreamingOutputCallResponse]) error {
	for {
		m, err := both.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := both.Send(&pb.StreamingOutputCallResponse{Payload: m.GetPayload()}); err != nil {
			return err
		}
	}
}

// serve starts the service; config nil means in clear.
func (o *origin) serve(t testing.TB, config *tls.Config, options ...grpc.ServerOption) net.Listener {
	t.Helper()
	o.left = make(chan error, 1)
	if config != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(config)))
	}
	server := grpc.NewServer(options...)
	pb.RegisterTestServiceServer(server, o)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return l
}

// dial connects a real client to the gate.
func dial(t testing.TB, addr string) pb.TestServiceClient {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return pb.NewTestServiceClient(conn)
}

func TestGRPC(t *testing.T) {
	t.Parallel()
	root := authority(t, nil, "root")
	server, own := named(t, root, "a.test"), named(t, root, "gate")
	for name, secure := range map[string]bool{"grpc": false, "grpcs": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, link := &origin{}, upstream.Link{Protocol: upstream.HTTP2}
			var config *tls.Config
			if secure {
				config = &tls.Config{Certificates: []tls.Certificate{*server.tls()}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool(root)}
				link.Security = &upstream.Security{ServerName: "a.test", Verify: true, Roots: pool(root), Identity: upstream.NewIdentity(own.tls())}
			}
			l := o.serve(t, config)
			pools := newPools(t, client.Options{})
			g := &gate{pool: pools.Pool(addrOf(l), link)}
			c := dial(t, g.serve(t))
			t.Run("unary", func(t *testing.T) { unary(t, c) })
			t.Run("server streams", func(t *testing.T) { serverStreams(t, c) })
			t.Run("client streams", func(t *testing.T) { clientStreams(t, c) })
			t.Run("both stream", func(t *testing.T) { bothStream(t, c) })
			t.Run("client leaves", func(t *testing.T) { clientLeaves(t, c, o) })
			if errs := g.failures(); len(errs) > 0 {
				t.Error(errs)
			}
			eventually(t, "nothing is under way and one connection idle", func() bool {
				idle, busy := pools.Counts()
				return idle == 1 && busy == 0
			})
		})
	}
}

func unary(t *testing.T, c pb.TestServiceClient) {
	var head, tail metadata.MD
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-ask", "what")
	out, err := c.UnaryCall(ctx, &pb.SimpleRequest{Payload: &pb.Payload{Body: []byte("hello")}}, grpc.Header(&head), grpc.Trailer(&tail))
	if err != nil || string(out.GetPayload().GetBody()) != "hello" || head.Get("x-head")[0] != "what" || tail.Get("x-tail")[0] != "t" || tail.Get("x-tail-bin")[0] != "\x00\xff" {
		t.Fatalf("UnaryCall = %v, %v with %v and %v", out, err, head, tail)
	}
	_, err = c.UnaryCall(ctx, &pb.SimpleRequest{ResponseStatus: &pb.EchoStatus{Code: int32(codes.NotFound), Message: "nö\n"}}, grpc.Trailer(&tail))
	if s := status.Convert(err); s.Code() != codes.NotFound || s.Message() != "nö\n" {
		t.Errorf("UnaryCall = %v", err)
	}
	if _, err = c.UnimplementedCall(ctx, &pb.Empty{}); status.Code(err) != codes.Unimplemented { // a head without a body
		t.Errorf("UnimplementedCall = %v", err)
	}
}

func serverStreams(t *testing.T, c pb.TestServiceClient) {
	in := &pb.StreamingOutputCallRequest{}
	for _, size := range []int32{1, 0, 100_000, 3_000_000, 7} {
		in.ResponseParameters = append(in.ResponseParameters, &pb.ResponseParameters{Size: size})
	}
	stream, err := c.StreamingOutputCall(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range in.GetResponseParameters() {
		m, err := stream.Recv()
		if err != nil || len(m.GetPayload().GetBody()) != int(want.GetSize()) {
			t.Fatalf("Recv = %d bytes, %v; want %d", len(m.GetPayload().GetBody()), err, want.GetSize())
		}
	}
	if _, err := stream.Recv(); err != io.EOF {
		t.Errorf("Recv = %v, want io.EOF", err)
	}
}

func clientStreams(t *testing.T, c pb.TestServiceClient) {
	send := func(count int) (*pb.StreamingInputCallResponse, error) {
		stream, err := c.StreamingInputCall(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for range count {
			if err := stream.Send(&pb.StreamingInputCallRequest{Payload: &pb.Payload{Body: make([]byte, 100_000)}}); err != nil {
				break
			}
		}
		return stream.CloseAndRecv()
	}
	if out, err := send(20); err != nil || out.GetAggregatedPayloadSize() != 2_000_000 {
		t.Errorf("StreamingInputCall = %v, %v", out, err)
	}
	if _, err := send(200); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("StreamingInputCall that is refused midway = %v", err)
	}
}

// bothStream sends no message before the last one was answered: nothing may wait for more.
func bothStream(t *testing.T, c pb.TestServiceClient) {
	stream, err := c.FullDuplexCall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if err := stream.Send(&pb.StreamingOutputCallRequest{Payload: &pb.Payload{Body: []byte{byte(i)}}}); err != nil {
			t.Fatal(err)
		}
		m, err := stream.Recv()
		if err != nil || m.GetPayload().GetBody()[0] != byte(i) {
			t.Fatalf("Recv %d = %v, %v", i, m, err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != io.EOF {
		t.Errorf("Recv = %v, want io.EOF", err)
	}
}

func clientLeaves(t *testing.T, c pb.TestServiceClient, o *origin) {
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	stream, err := c.StreamingOutputCall(ctx, &pb.StreamingOutputCallRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	leave()
	if err := <-o.left; err != context.Canceled {
		t.Errorf("the service's context ended with %v", err)
	}
}
