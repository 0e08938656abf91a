package uplink

import (
	"context"
	"time"

	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/telemetry"
)

// heartbeat is assumed until the control plane's Welcome says another; what it says is held between the bounds.
const (
	heartbeat        = 10 * time.Second
	fastestHeartbeat = 10 * time.Millisecond
	slowestHeartbeat = time.Hour
)

// conversation is one stream once it is open. Only follow's goroutine sends; another one receives, and a third
// applies an update, so that heartbeats go on meanwhile.
type conversation struct {
	stream   syncv1.SyncService_StreamClient
	received chan *syncv1.StreamResponse
	broken   chan error
	silence  *time.Timer // ends the session
	interval time.Duration
	verdict  chan *syncv1.StreamRequest // of the update that is being applied, nil when none is
}

// receive ends with the stream, whose context the session cancels.
func (c *conversation) receive(ctx context.Context) {
	for {
		message, err := c.stream.Recv()
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
}

// follow takes what the control plane sends until the link breaks. It returns when no update is being applied.
func (u *Uplink) follow(ctx context.Context, c *conversation) error {
	defer func() {
		if c.verdict != nil {
			<-c.verdict // the next hello says what came of it
		}
	}()
	beat := time.NewTicker(c.interval)
	defer beat.Stop()
	report := time.NewTicker(u.options.Report)
	defer report.Stop()
	elsewhere := time.NewTimer(slowestHeartbeat)
	defer elsewhere.Stop()
	locked := u.lookElsewhere(false, elsewhere)
	for {
		received := c.received
		if c.verdict != nil {
			received = nil
		}
		var answer *syncv1.StreamRequest
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-c.broken:
			return err
		case <-beat.C:
			answer = &syncv1.StreamRequest{Message: &syncv1.StreamRequest_Heartbeat{Heartbeat: &syncv1.Heartbeat{}}}
		case <-report.C:
			answer = u.report()
		case <-u.tell:
			answer = u.report()
		case <-u.again:
			return errRelink
		case <-elsewhere.C:
			if locked {
				u.lacking = min(2*u.lacking, longestLacking)
				return errLocked
			}
		case answer = <-c.verdict:
			c.verdict = nil
			c.silence.Reset(3 * c.interval)
			locked = u.lookElsewhere(locked, elsewhere)
		case message := <-received:
			c.silence.Reset(3 * c.interval)
			var err error
			if answer, err = u.hear(c, message, beat); err != nil {
				return err
			}
			if u.connected.Load() {
				u.options.Heard()
			}
		}
		if answer == nil {
			continue
		}
		if err := c.stream.Send(answer); err != nil {
			return u.sendError(ctx, c)
		}
		if answer.GetAck() == nil && answer.GetNack() == nil {
			continue
		}
		if err := c.stream.Send(u.report()); err != nil { // a verdict changes what was reported before
			return u.sendError(ctx, c)
		}
	}
}

// longestLacking bounds how rarely another node is asked for what none may be able to open.
const longestLacking = 15 * time.Minute

// lookElsewhere sets the time to leave this node when it leaves out what another one may open, and says whether it does.
func (u *Uplink) lookElsewhere(before bool, elsewhere *time.Timer) (locked bool) {
	_, kept := u.condition()
	locked = kept.GetLacking() > 0 && len(u.endpoints) > 1
	switch {
	case !locked:
		u.lacking = u.options.Lacking
	case !before:
		elsewhere.Reset(u.lacking)
	}
	return locked
}

// hear takes one message and returns the answer that is due at once, or why the link ends. What this build does not know counts as a
// sign of life.
func (u *Uplink) hear(c *conversation, message *syncv1.StreamResponse, beat *time.Ticker) (*syncv1.StreamRequest, error) {
	if command := message.GetCommand(); command != nil {
		return u.order(c, command)
	}
	if welcome := message.GetWelcome(); welcome != nil {
		if said := time.Duration(welcome.HeartbeatIntervalMs) * time.Millisecond; said > 0 {
			c.interval = min(max(said, fastestHeartbeat), slowestHeartbeat)
		}
		beat.Reset(c.interval)
		c.silence.Reset(3 * c.interval)
		u.connected.Store(true)
		u.refused.Store(nil)
		u.options.Log.Log(context.Background(), telemetry.LevelNotice, "linked to the control plane", "control_plane", welcome.ControlPlane, "version", welcome.Version)
		return u.report(), nil
	}
	chunk := message.GetChunk()
	if chunk == nil {
		return nil, nil
	}
	in, answer := u.take(chunk)
	if in != nil {
		c.silence.Stop() // nothing is read until the verdict
		c.verdict = make(chan *syncv1.StreamRequest, 1)
		go func(verdict chan<- *syncv1.StreamRequest) { verdict <- u.judge(in) }(c.verdict) // follow waits for it
	}
	return answer, nil
}

// sendError finds the status behind the io.EOF that Send answers once the other side has ended the stream. What it
// still said does not matter, unless it is the last order.
func (u *Uplink) sendError(ctx context.Context, c *conversation) error {
	for {
		select {
		case err := <-c.broken:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		case message := <-c.received:
			if command := message.GetCommand(); command.GetWipe() != nil {
				if _, err := u.order(c, command); err != nil {
					return err
				}
			}
		}
	}
}

func (u *Uplink) report() *syncv1.StreamRequest {
	_, ready := u.applier.Held()
	quarantined, kept := u.condition()
	return &syncv1.StreamRequest{Message: &syncv1.StreamRequest_Report{Report: &syncv1.Report{
		Ready: ready, CertificateExpiresAt: u.node.CertificateExpires().Unix(), Quarantined: quarantined, Kept: kept,
		TrustSequence: u.node.Orders.TrustSequence(),
	}}}
}
