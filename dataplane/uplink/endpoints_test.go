package uplink

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/keepgate/keepgate/dataplane/apply"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
)

// controlNode is a control plane node that welcomes and then listens.
type controlNode struct {
	syncv1.UnimplementedSyncServiceServer
	Endpoint
	server *grpc.Server
	came   chan string // the node's address, for each link
}

func (n *controlNode) Stream(stream syncv1.SyncService_StreamServer) error {
	if err := stream.Send(&syncv1.StreamResponse{Message: &syncv1.StreamResponse_Welcome{Welcome: &syncv1.Welcome{ControlPlane: n.Address}}}); err != nil {
		return err
	}
	n.came <- n.Address
	<-stream.Context().Done()
	return stream.Context().Err()
}

func (n *controlNode) serve(t *testing.T) {
	t.Helper()
	socket, err := net.Listen("tcp", n.Address)
	if err != nil {
		t.Fatal(err)
	}
	n.Endpoint = Endpoint{socket.Addr().String(), insecure.NewCredentials()}
	n.server = grpc.NewServer()
	syncv1.RegisterSyncServiceServer(n.server, n)
	go n.server.Serve(socket) // ends with Stop
	t.Cleanup(n.server.Stop)
}

// silent accepts connections and says nothing.
func silent(t *testing.T) Endpoint {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var held []net.Conn
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := socket.Accept()
			if err != nil {
				return
			}
			held = append(held, c)
		}
	})
	t.Cleanup(func() {
		socket.Close()
		accepting.Wait()
		for _, c := range held {
			c.Close()
		}
	})
	return Endpoint{socket.Addr().String(), insecure.NewCredentials()}
}

// dead is an address where nobody listens.
func dead(t *testing.T) Endpoint {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	return Endpoint{socket.Addr().String(), insecure.NewCredentials()}
}

func await(t *testing.T, came chan string) string {
	t.Helper()
	select {
	case address := <-came:
		return address
	case <-time.After(30 * time.Second):
		t.Fatal("the data plane never linked")
		return ""
	}
}

// start runs an uplink until the test ends.
func start(t *testing.T, endpoints ...Endpoint) {
	t.Helper()
	u := New(endpoints, apply.New(nowhere{}, nowhere{}), Node{CertificateExpires: func() time.Time { return time.Time{} }},
		Options{DialTimeout: 200 * time.Millisecond, FirstPause: 10 * time.Millisecond, LongestPause: 50 * time.Millisecond})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- u.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
}

func TestNodesThatDoNotAnswerAreLeftForOneThatDoes(t *testing.T) {
	t.Parallel()
	good := &controlNode{Endpoint: Endpoint{Address: "127.0.0.1:0"}, came: make(chan string, 10)}
	good.serve(t)
	start(t, dead(t), silent(t), good.Endpoint, dead(t), silent(t))
	if got := await(t, good.came); got != good.Address {
		t.Errorf("linked to %s", got)
	}
}

func TestALostNodeIsLeftForAnother(t *testing.T) {
	t.Parallel()
	came := make(chan string, 10)
	nodes := map[string]*controlNode{}
	var endpoints []Endpoint
	for range 4 {
		n := &controlNode{Endpoint: Endpoint{Address: "127.0.0.1:0"}, came: came}
		n.serve(t)
		nodes[n.Address] = n
		endpoints = append(endpoints, n.Endpoint)
	}
	start(t, endpoints...)
	last := await(t, came)
	for range 3 {
		nodes[last].server.Stop()
		next := await(t, came)
		if next == last {
			t.Fatalf("it linked to %s again, which was stopped", last)
		}
		last = next
	}
	select {
	case other := <-came:
		t.Errorf("it left %s for %s without a reason", last, other)
	case <-time.After(50 * time.Millisecond):
	}
}

func TestTheOrderIsRandomAndLeavesNobodyOut(t *testing.T) {
	t.Parallel()
	u := New([]Endpoint{{Address: "a"}, {Address: "b"}, {Address: "c"}}, nil, Node{}, Options{})
	first := map[string]int{}
	for range 300 {
		list := u.shuffled("")
		first[list[0].Address]++
		if len(list) != 3 || list[0].Address == list[1].Address || list[1].Address == list[2].Address {
			t.Fatalf("the order is %v", list)
		}
	}
	if len(first) != 3 || slices.Max([]int{first["a"], first["b"], first["c"]}) > 200 {
		t.Errorf("who is first: %v", first)
	}
	if rest := u.shuffled("b"); len(rest) != 2 || rest[0].Address == "b" || rest[1].Address == "b" {
		t.Errorf("without b: %v", rest)
	}
}
