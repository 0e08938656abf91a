package stream

import (
	"context"
	"crypto/tls"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keepgate/keepgate/controlplane/fleet"
	"github.com/keepgate/keepgate/controlplane/publish/versions"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

const (
	// headTimeout bounds asking the database whether a data plane is ahead of it.
	headTimeout = 2 * time.Second
	// patience is how long it may be so: this node may only read behind another, and a replica behind its database.
	patience = time.Minute
)

// link is one stream after its hello. Its fields are run's goroutine's alone; two more goroutines send and
// receive, so that neither a slow peer nor a large snapshot delays heartbeats, verdicts or the end.
type link struct {
	server      *Server
	environment *versions.Environment
	session     *fleet.Session
	who         identity.Identity

	connection tls.ConnectionState
	ended      <-chan error               // the gatekeeper says that it may no longer stay
	trust      uint64                     // sequence of the trust that the data plane holds
	orders     <-chan struct{}            // closes when there may be other orders
	told       map[string]*syncv1.Command // the last order of each kind that this link was given

	held    *syncv1.Position // what the data plane holds, nil for nothing
	partial *syncv1.Partial  // a snapshot that it has the beginning of
	flying  *flight          // begun and without a verdict, nil when none is
	refused *refusal         // the last that was refused: not sent again until there is another
	whole   bool             // the next update must be a whole snapshot
	settled bool             // the fleet knows that it holds the newest
	since   time.Time        // it was found to hold something later than this node has read; zero: it does not
	isAhead bool             // it holds what the database never gave out, and an operator was told

	urgent []*syncv1.StreamResponse // to be sent before any chunk
	chunks []*syncv1.StreamResponse // of flying, still to be sent
}

// flight is an update that is being sent or judged.
type flight struct {
	version *versions.Version
	whole   bool // a snapshot from its first chunk: nothing better can be sent
}

// refusal is a version that the data plane did not take.
type refusal struct {
	version *versions.Version
	again   time.Time // when to try it once more; zero: never
}

// conversation is what a link shares with the goroutines that send and receive.
type conversation struct {
	sends    chan *syncv1.StreamResponse
	received chan *syncv1.StreamRequest
	broken   chan error
}

// converse starts to send and to receive. Both end with the stream, which ends when its handler returns.
func converse(ctx context.Context, stream syncv1.SyncService_StreamServer) conversation {
	c := conversation{make(chan *syncv1.StreamResponse), make(chan *syncv1.StreamRequest), make(chan error, 2)}
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case message := <-c.sends:
				if message == nil { // somebody waited for the one before
					continue
				}
				if err := stream.Send(message); err != nil {
					c.broken <- err
					return
				}
			}
		}
	}()
	go func() {
		for {
			message, err := stream.Recv()
			if err != nil {
				c.broken <- err
				return
			}
			select {
			case c.received <- message:
			case <-ctx.Done():
				return
			}
		}
	}()
	return c
}

// run sends whatever is newer than what the data plane holds, and takes its verdicts.
func (l *link) run(ctx context.Context, c conversation) error {
	interval := l.server.options.Heartbeat
	l.urgent = append(l.urgent, &syncv1.StreamResponse{Message: &syncv1.StreamResponse_Welcome{Welcome: &syncv1.Welcome{
		ControlPlane: l.server.options.Name, Version: l.server.options.Version,
		HeartbeatIntervalMs: uint32(interval.Milliseconds()),
	}}})
	beat := time.NewTicker(interval)
	defer beat.Stop()
	silence := time.NewTimer(3 * interval)
	defer silence.Stop()
	l.orders = l.order()
	for {
		newest, changed := l.environment.Newest()
		if l.environment.Ended() {
			return errNoEnvironment(l.who)
		}
		if err := l.offer(ctx, newest); err != nil {
			return err
		}
		next, sends := l.next(c.sends)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-l.ended:
			return shutOut(ctx, c, err)
		case err := <-c.broken:
			return err
		case <-silence.C:
			return status.Error(codes.DeadlineExceeded, "silent for three heartbeats")
		case <-changed:
		case <-l.orders:
			l.orders = l.order()
		case sends <- next:
			l.sent()
		case <-beat.C:
			if len(l.urgent) == 0 && len(l.chunks) == 0 {
				l.urgent = append(l.urgent, &syncv1.StreamResponse{Message: &syncv1.StreamResponse_Heartbeat{Heartbeat: &syncv1.Heartbeat{}}})
			}
		case message := <-c.received:
			silence.Reset(3 * interval)
			l.take(message)
		}
	}
}

// next returns what is to be sent and where; a nil channel when there is nothing.
func (l *link) next(sends chan *syncv1.StreamResponse) (*syncv1.StreamResponse, chan<- *syncv1.StreamResponse) {
	switch {
	case len(l.urgent) > 0:
		return l.urgent[0], sends
	case len(l.chunks) > 0:
		return l.chunks[0], sends
	}
	return nil, nil
}

func (l *link) sent() {
	if len(l.urgent) > 0 {
		l.urgent = l.urgent[1:]
		return
	}
	l.chunks = l.chunks[1:]
}

// offer begins to send the newest version if the data plane should have it and no other update is in flight.
func (l *link) offer(ctx context.Context, newest *versions.Version) error {
	if newest == nil || l.flying != nil || l.declines(newest) {
		return nil
	}
	if !l.whole && newest.Holds(l.held) {
		if !l.settled {
			l.settled, l.isAhead, l.since = true, false, time.Time{}
			l.session.Holds(heldOf(l.held))
		}
		return nil
	}
	if l.ahead(ctx, newest) {
		return nil
	}
	chunks, whole, err := l.update(newest)
	if err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	l.flying, l.chunks = &flight{newest, whole}, chunks
	l.whole, l.partial, l.settled, l.isAhead, l.since = false, nil, false, false, time.Time{}
	return nil
}

// declines reports whether the data plane refused v and nothing speaks for asking again.
func (l *link) declines(v *versions.Version) bool {
	if l.refused == nil || l.refused.version != v {
		return false
	}
	if again := l.refused.again; again.IsZero() || time.Now().Before(again) {
		return true
	}
	l.refused = nil
	return false
}

// ahead reports whether the data plane holds something later than newest: it has it from another node that has read
// further, and this one has nothing for it until it has caught up. When after a while the database itself has still
// given out less, an operator must say what happened.
func (l *link) ahead(ctx context.Context, newest *versions.Version) bool {
	if l.held == nil || l.held.Epoch < newest.Epoch || l.held.Epoch == newest.Epoch && l.held.Version <= newest.Number {
		return false
	}
	now := time.Now()
	if l.since.IsZero() {
		l.since = now
	}
	if l.isAhead || now.Sub(l.since) < l.server.options.Patience {
		return true
	}
	l.since = now // the next question to the database comes after as long again
	ctx, cancel := context.WithTimeout(ctx, headTimeout)
	defer cancel()
	ahead, err := l.server.publisher.Ahead(ctx, l.held.Epoch, l.held.Version)
	if err == nil && ahead {
		l.isAhead = true
		l.server.options.Log.Error("a data plane holds a newer configuration than the database; if the database was restored, "+
			"run: keepgate-cp fleet accept-restore", "data_plane", l.who.String(), "holds_epoch", l.held.Epoch,
			"holds_version", l.held.Version, "database_epoch", newest.Epoch, "database_version", l.server.publisher.Seen())
		l.session.IsAhead()
	}
	return true
}

// update returns what leads the data plane to v: a delta from what it holds where that is remembered, the rest
// of a snapshot that it has the beginning of, else a whole snapshot.
func (l *link) update(v *versions.Version) (chunks []*syncv1.StreamResponse, whole bool, err error) {
	if base := l.environment.Held(l.held); base != nil && base.Epoch == v.Epoch && !l.whole {
		chunks, err = v.DeltaFrom(base)
		return chunks, false, err
	}
	chunks, err = v.Snapshot()
	if done := l.partial.GetChunks(); !l.whole && done > 0 && int(done) < len(chunks) && v.Is(l.partial.GetTarget()) {
		return chunks[done:], false, err
	}
	return chunks, true, err
}
