package stream_test

import (
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/mtls/grpccreds"
)

// wiretap counts and may change what a control plane sends.
type wiretap struct {
	mu     sync.Mutex
	chunks []*syncv1.Chunk                   // guarded by mu
	to     map[string][]*syncv1.Chunk        // guarded by mu; the same, by the name of who got them
	change func(*syncv1.Chunk) *syncv1.Chunk // guarded by mu
	hold   atomic.Bool                       // nothing is sent
}

func (w *wiretap) intercept(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	who, _, err := grpccreds.PeerOf(stream.Context())
	if err != nil {
		return err
	}
	return next(server, &tapped{stream, w, who.Name})
}

type tapped struct {
	grpc.ServerStream
	wire *wiretap
	who  string
}

func (s *tapped) SendMsg(message any) error {
	for s.wire.hold.Load() && s.Context().Err() == nil {
		time.Sleep(time.Millisecond)
	}
	if chunk := message.(*syncv1.StreamResponse).GetChunk(); chunk != nil {
		s.wire.mu.Lock()
		if s.wire.change != nil {
			chunk = s.wire.change(chunk)
			message = &syncv1.StreamResponse{Message: &syncv1.StreamResponse_Chunk{Chunk: chunk}}
		}
		s.wire.chunks = append(s.wire.chunks, chunk)
		if s.wire.to == nil {
			s.wire.to = map[string][]*syncv1.Chunk{}
		}
		s.wire.to[s.who] = append(s.wire.to[s.who], chunk)
		s.wire.mu.Unlock()
	}
	return s.ServerStream.SendMsg(message)
}

// sent returns the chunks that were sent since the last time it was asked.
func (w *wiretap) sent() []*syncv1.Chunk {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.chunks
	w.chunks = nil
	return all
}

// sentTo is sent, of one data plane alone.
func (w *wiretap) sentTo(name string) []*syncv1.Chunk {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.to[name]
	delete(w.to, name)
	return all
}

func (w *wiretap) meddle(change func(*syncv1.Chunk) *syncv1.Chunk) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.change = change
}
