package enrol

import (
	"context"
	"net"
	"net/netip"
	"time"

	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	"github.com/keepgate/keepgate/shared/enrolment"
)

// Serve answers on a connection on which joining was negotiated, and closes it. It returns soon: within
// enrolment.Deadline whatever the other side does.
func (s *Service) Serve(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	if conn.SetDeadline(time.Now().Add(enrolment.Deadline)) != nil {
		return
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	from := addressOf(conn.RemoteAddr())
	if !s.crowd.enter(from) {
		s.say(conn, busy())
		return
	}
	defer s.crowd.leave(from)
	var said enrolv1.JoinRequest
	if err := enrolment.ReadFrame(conn, &said); err != nil {
		s.options.Log.Debug("a node that wanted to join said nothing that can be read", "from", conn.RemoteAddr().String(), "error", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, enrolment.Deadline)
	defer cancel()
	select {
	case s.joining <- struct{}{}:
		defer func() { <-s.joining }()
		s.say(conn, s.Join(ctx, from, &said))
	case <-ctx.Done():
		s.say(conn, busy())
	}
}

func busy() *enrolv1.JoinResponse {
	return &enrolv1.JoinResponse{Outcome: &enrolv1.JoinResponse_Refusal{Refusal: &enrolv1.Refusal{
		Reason: "many nodes want to join at this moment; try again", Again: true,
	}}}
}

func (s *Service) say(conn net.Conn, response *enrolv1.JoinResponse) {
	if err := enrolment.WriteFrame(conn, response); err != nil {
		s.options.Log.Warn("the answer did not reach a node that wanted to join", "to", conn.RemoteAddr().String(), "error", err)
	}
}

func addressOf(at net.Addr) netip.Addr {
	host, _, _ := net.SplitHostPort(at.String())
	address, _ := netip.ParseAddr(host) // those without an address share one budget
	return address.Unmap()
}
