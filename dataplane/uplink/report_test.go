package uplink

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/keepgate/keepgate/dataplane/apply"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/telemetry"
)

// teller welcomes a data plane, sends it chunks, and passes on what it hears.
type teller struct {
	syncv1.UnimplementedSyncServiceServer
	chunks []*syncv1.Chunk
	heard  chan *syncv1.StreamRequest
}

func (c *teller) Stream(stream syncv1.SyncService_StreamServer) error {
	if err := stream.Send(&syncv1.StreamResponse{Message: &syncv1.StreamResponse_Welcome{Welcome: &syncv1.Welcome{ControlPlane: "cp"}}}); err != nil {
		return err
	}
	for _, chunk := range c.chunks {
		if err := stream.Send(&syncv1.StreamResponse{Message: &syncv1.StreamResponse_Chunk{Chunk: chunk}}); err != nil {
			return err
		}
	}
	for {
		message, err := stream.Recv()
		if err != nil {
			return err
		}
		c.heard <- message
	}
}

func TestEveryVerdictIsFollowedByAReport(t *testing.T) {
	t.Parallel()
	first := &apply.State{Epoch: 1, Version: 5, Set: numbered(10)}
	whole := chunksOf(t, nil, first, 10)
	tests := map[string]struct {
		chunks  []*syncv1.Chunk
		verdict func(m *syncv1.StreamRequest) bool
		ready   bool
		log     string
	}{
		"accepted":           {whole, func(m *syncv1.StreamRequest) bool { return m.GetAck() != nil }, true, "configuration applied"},
		"refused when whole": {wrongHash(chunksOf(t, nil, first, 10)), func(m *syncv1.StreamRequest) bool { return m.GetNack() != nil }, false, ""},
		"refused half-way":   {[]*syncv1.Chunk{chunksOf(t, nil, first, 3)[1]}, func(m *syncv1.StreamRequest) bool { return m.GetNack() != nil }, false, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cp := &teller{chunks: test.chunks, heard: make(chan *syncv1.StreamRequest, 100)}
			server := grpc.NewServer()
			syncv1.RegisterSyncServiceServer(server, cp)
			socket, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			go server.Serve(socket) // ends with Stop
			defer server.Stop()
			var log bytes.Buffer
			u := New([]Endpoint{{socket.Addr().String(), insecure.NewCredentials()}}, apply.New(nowhere{}, nowhere{}),
				Node{CertificateExpires: func() time.Time { return time.Time{} }},
				Options{Report: time.Hour, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: telemetry.LevelNotice}))})
			ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
			ended := make(chan error, 1)
			go func() { ended <- u.Run(ctx) }()
			for seen := false; ; {
				select {
				case m := <-cp.heard:
					if report := m.GetReport(); seen && (report == nil || report.Ready != test.ready) {
						t.Errorf("after the verdict came %v", m)
					}
					if !seen {
						seen = test.verdict(m)
						continue
					}
				case <-ctx.Done():
					t.Error("no report followed")
				}
				break
			}
			stop()
			<-ended
			if !strings.Contains(log.String(), "linked to the control plane") || !strings.Contains(log.String(), test.log) {
				t.Errorf("at level notice it says\n%s", log.String())
			}
		})
	}
}

func wrongHash(chunks []*syncv1.Chunk) []*syncv1.Chunk {
	for _, c := range chunks {
		c.Target.Hash[0] ^= 1
	}
	return chunks
}

// What changes beside the configuration is told at once, and not with the next report that is due anyway.
func TestTell(t *testing.T) {
	t.Parallel()
	cp := &teller{heard: make(chan *syncv1.StreamRequest, 100)}
	server := grpc.NewServer()
	syncv1.RegisterSyncServiceServer(server, cp)
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(socket) // ends with Stop
	defer server.Stop()
	u := New([]Endpoint{{socket.Addr().String(), insecure.NewCredentials()}}, apply.New(nowhere{}, nowhere{}),
		Node{CertificateExpires: func() time.Time { return time.Time{} }}, Options{Report: time.Hour})
	u.Tell() // before there is a link: the first report says it
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- u.Run(ctx) }()
	reports := func(want int) {
		t.Helper()
		for got := 0; got < want; {
			select {
			case m := <-cp.heard:
				if m.GetReport() != nil {
					got++
				}
			case <-ctx.Done():
				t.Fatalf("%d reports, want %d", got, want)
			}
		}
	}
	reports(2) // that of a new link, and the one that was asked for
	u.Tell()
	reports(1)
	stop()
	<-ended
}
