package uplink

import (
	"context"
	"time"

	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
)

// heartbeat is assumed until the control plane's Welcome says another.
const heartbeat = 10 * time.Second

// follow takes what the control plane sends until the link breaks. Only this goroutine sends on the stream;
// another one receives.
func (u *Uplink) follow(ctx context.Context, stream syncv1.SyncService_StreamClient) error {
	received := make(chan *syncv1.StreamResponse)
	broken := make(chan error, 1)
	go func() { // ends with the stream, whose context the caller cancels
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
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	silence := time.NewTimer(3 * heartbeat)
	defer silence.Stop()
	report := time.NewTicker(u.options.Report)
	defer report.Stop()
	interval := heartbeat
	for {
		var answer *syncv1.StreamRequest
		select {
		case err := <-broken:
			return err
		case <-silence.C:
			return errSilent
		case <-beat.C:
			answer = &syncv1.StreamRequest{Message: &syncv1.StreamRequest_Heartbeat{Heartbeat: &syncv1.Heartbeat{}}}
		case <-report.C:
			answer = u.report()
		case message := <-received:
			if welcome := message.GetWelcome(); welcome != nil {
				interval = welcomed(welcome, beat)
				u.connected.Store(true)
				u.options.Log.Info("linked to the control plane", "control_plane", welcome.ControlPlane, "version", welcome.Version)
				answer = u.report()
			} else if chunk := message.GetChunk(); chunk != nil {
				answer = u.take(chunk)
			}
			silence.Reset(3 * interval)
		}
		if answer == nil {
			continue
		}
		if err := stream.Send(answer); err != nil {
			return streamError(stream, err)
		}
	}
}

func welcomed(w *syncv1.Welcome, beat *time.Ticker) time.Duration {
	interval := time.Duration(w.HeartbeatIntervalMs) * time.Millisecond
	if interval <= 0 {
		interval = heartbeat
	}
	beat.Reset(interval)
	return interval
}

func (u *Uplink) report() *syncv1.StreamRequest {
	_, ready := u.applier.Held()
	return &syncv1.StreamRequest{Message: &syncv1.StreamRequest_Report{Report: &syncv1.Report{
		Ready: ready, CertificateExpiresAt: u.node.CertificateExpires().Unix(), Quarantined: u.applier.Quarantined(),
	}}}
}
