package publish

import (
	"bytes"
	"context"
	"net"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keepgate/keepgate/controlplane/fleet"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/mtls"
)

// link is one stream after its hello. run's goroutine alone sends.
type link struct {
	server  *Server
	stream  syncv1.SyncService_StreamServer
	session *fleet.Session
	who     mtls.Identity
	held    *syncv1.Position // what the data plane holds, nil for nothing
	partial *syncv1.Partial  // a snapshot that it has the beginning of
	flying  *version         // sent and without a verdict, nil when none is
	refused *version         // the last that was refused: not sent again until there is another
	whole   bool             // the next update must be a snapshot
}

// run sends whatever is newer than what the data plane holds, and takes its verdicts.
func (l *link) run(ctx context.Context) error {
	interval := l.server.options.Heartbeat
	if err := l.stream.Send(&syncv1.StreamResponse{Message: &syncv1.StreamResponse_Welcome{Welcome: &syncv1.Welcome{
		ControlPlane: l.server.options.Name, Version: l.server.options.Version,
		HeartbeatIntervalMs: uint32(interval.Milliseconds()),
	}}}); err != nil {
		return err
	}
	received, broken := receive(ctx, l.stream)
	beat := time.NewTicker(interval)
	defer beat.Stop()
	silence := time.NewTimer(3 * interval)
	defer silence.Stop()
	for {
		newest, changed := l.server.publisher.environment.newest()
		if err := l.offer(ctx, newest); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-broken:
			return err
		case <-silence.C:
			return status.Error(codes.DeadlineExceeded, "silent for three heartbeats")
		case <-changed:
		case <-beat.C:
			if err := l.stream.Send(&syncv1.StreamResponse{Message: &syncv1.StreamResponse_Heartbeat{Heartbeat: &syncv1.Heartbeat{}}}); err != nil {
				return err
			}
		case message := <-received:
			silence.Reset(3 * interval)
			l.take(ctx, message)
		}
	}
}

// receive reads the stream until it breaks or ctx ends.
func receive(ctx context.Context, stream syncv1.SyncService_StreamServer) (<-chan *syncv1.StreamRequest, <-chan error) {
	received := make(chan *syncv1.StreamRequest)
	broken := make(chan error, 1)
	go func() { // ends with the stream, which ends when its handler returns
		for {
			message, err := stream.Recv()
			if err != nil {
				broken <- err
				return
			}
			select {
			case received <- message:
			case <-ctx.Done():
				return
			}
		}
	}()
	return received, broken
}

// offer sends the newest version if the data plane should have it and no other update is in flight.
func (l *link) offer(ctx context.Context, newest *version) error {
	if newest == nil || l.flying != nil || newest == l.refused {
		return nil
	}
	hash := newest.set.Hash()
	if !l.whole && l.held != nil && bytes.Equal(l.held.Hash, hash[:]) && l.held.Epoch == newest.epoch {
		if l.session.Status().SyncStatus == fleet.Unknown {
			l.session.Acked(ctx, heldOf(l.held), l.session.Status().Quarantined)
		}
		return nil
	}
	if l.ahead(ctx, newest) {
		return nil
	}
	chunks, err := l.update(newest)
	if err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	for _, chunk := range chunks {
		if err := l.stream.Send(chunk); err != nil {
			return err
		}
	}
	l.flying, l.whole, l.partial = newest, false, nil
	return nil
}

// ahead reports whether the data plane holds something later than newest. It may have it from another node that
// has read further; when the database itself has given out less, an operator must say what happened.
func (l *link) ahead(ctx context.Context, newest *version) bool {
	if l.held == nil || l.held.Epoch < newest.epoch || l.held.Epoch == newest.epoch && l.held.Version <= newest.number {
		return false
	}
	if l.held.Epoch > newest.epoch || l.held.Version > l.server.publisher.Seen() {
		if l.session.Status().SyncStatus != fleet.Ahead {
			l.server.options.Log.Error("a data plane holds a newer configuration than the database; if the database was restored, "+
				"run: keepgate-cp fleet accept-restore", "data_plane", l.who.String(), "holds_epoch", l.held.Epoch,
				"holds_version", l.held.Version, "database_epoch", newest.epoch, "database_version", l.server.publisher.Seen())
			l.session.IsAhead(ctx)
		}
	}
	return true
}

// update returns what leads the data plane to v: the rest of a snapshot that it has the beginning of, a delta
// from what it holds where that is remembered, else a snapshot.
func (l *link) update(v *version) ([]*syncv1.StreamResponse, error) {
	if base := l.server.publisher.environment.held(l.held); base != nil && base.epoch == v.epoch && !l.whole {
		return v.deltaFrom(base)
	}
	chunks, err := v.snapshotTo()
	if err != nil {
		return nil, err
	}
	hash := v.set.Hash()
	if t := l.partial.GetTarget(); t != nil && t.Epoch == v.epoch && t.Version == v.number && bytes.Equal(t.Hash, hash[:]) &&
		int(l.partial.Chunks) < len(chunks) {
		return chunks[l.partial.Chunks:], nil
	}
	return chunks, nil
}

// take notes what the data plane says.
func (l *link) take(ctx context.Context, message *syncv1.StreamRequest) {
	switch m := message.Message.(type) {
	case *syncv1.StreamRequest_Ack:
		if l.flying == nil {
			return
		}
		l.held, l.flying, l.refused = l.flying.position(), nil, nil
		l.session.Acked(ctx, heldOf(l.held), quarantinedOf(m.Ack.Quarantined))
	case *syncv1.StreamRequest_Nack:
		if l.flying == nil {
			return
		}
		l.settle(ctx, m.Nack)
	case *syncv1.StreamRequest_Report:
		l.session.Reported(ctx, m.Report.Ready, quarantinedOf(m.Report.Quarantined))
	default:
		l.session.Seen(ctx)
	}
}

// settle notes a refusal. A delta that did not fit is followed by a snapshot once; anything else waits for
// another version.
func (l *link) settle(ctx context.Context, n *syncv1.Nack) {
	sent := l.flying
	l.flying = nil
	fits := l.held != nil && l.server.publisher.environment.held(l.held) != nil
	if n.Reason == syncv1.NackReason_NACK_REASON_MISMATCH && fits {
		l.held, l.whole = nil, true
	} else {
		l.refused = sent
	}
	l.server.options.Log.Warn("a data plane refused an update and goes on with what it has", "data_plane", l.who.String(),
		"version", sent.number, "reason", n.Reason, "detail", n.Detail, "snapshot_follows", l.whole)
	l.session.Nacked(ctx, n.Reason.String()+": "+n.Detail)
}

func quarantinedOf(list []*syncv1.Quarantined) []fleet.Quarantined {
	var out []fleet.Quarantined
	for _, q := range list {
		out = append(out, fleet.Quarantined{Kind: q.Kind, ID: q.Id, Name: q.Name, Reason: q.Reason})
	}
	return out
}

func host(address string) string {
	h, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return h
}
