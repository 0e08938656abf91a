package uplink

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/keepgate/keepgate/dataplane/apply"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/configset"
)

// tell serves a control plane node that sends chunks.
func tell(t *testing.T, chunks []*syncv1.Chunk) (*teller, Endpoint) {
	t.Helper()
	cp := &teller{chunks: chunks, heard: make(chan *syncv1.StreamRequest, 1000)}
	server := grpc.NewServer()
	syncv1.RegisterSyncServiceServer(server, cp)
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(socket) // ends with Stop
	t.Cleanup(server.Stop)
	return cp, Endpoint{socket.Addr().String(), insecure.NewCredentials()}
}

// A node that cannot open what this data plane never held is left for one that can; and there it stays.
func TestANodeThatLacksKeysIsLeft(t *testing.T) {
	t.Parallel()
	whole := &apply.State{Epoch: 1, Version: 5, Set: numbered(10)}
	partly := &apply.State{Epoch: 1, Version: 5, Set: numbered(10).Put(configset.Entry{Kind: "services", ID: "locked", Kept: true})}
	lacking, first := tell(t, chunksOf(t, nil, partly, 100))
	complete, second := tell(t, chunksOf(t, nil, whole, 100))
	u := New([]Endpoint{first, second}, apply.New(nowhere{}, nowhere{}), Node{CertificateExpires: func() time.Time { return time.Time{} }},
		Options{FirstPause: 10 * time.Millisecond, LongestPause: 50 * time.Millisecond, Report: 10 * time.Millisecond, Lacking: 20 * time.Millisecond})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- u.Run(ctx) }()
	defer func() { stop(); <-ended }()
	deadline := time.After(30 * time.Second)
	for reports := 0; reports < 20; { // many reports in a row from where nothing is lacking
		select {
		case <-lacking.heard:
			reports = 0
		case m := <-complete.heard:
			if m.GetReport() != nil {
				reports++
			}
		case <-deadline:
			t.Fatal("it did not settle where nothing is lacking")
		}
	}
}
