package enrol

import (
	"context"
	"net"
	"net/netip"
	"time"

	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	"github.com/keepgate/keepgate/shared/enrolment"
)

// joinsAtOnce bounds how many join at a time on this node: strangers may begin to.
const joinsAtOnce = 16

// Serve answers on a connection on which joining was negotiated, and closes it. It returns soon: within
// enrolment.Deadline whatever the other side does.
func (s *Service) Serve(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	if conn.SetDeadline(time.Now().Add(enrolment.Deadline)) != nil {
		return
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	select {
	case s.joining <- struct{}{}:
		defer func() { <-s.joining }()
	default:
		s.say(conn, &enrolv1.JoinResponse{Outcome: &enrolv1.JoinResponse_Refusal{Refusal: &enrolv1.Refusal{
			Reason: "many nodes join at this moment; try again", Again: true,
		}}})
		return
	}
	var said enrolv1.JoinRequest
	if err := enrolment.ReadFrame(conn, &said); err != nil {
		s.options.Log.Debug("a node that wanted to join said nothing that can be read", "from", conn.RemoteAddr().String(), "error", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, enrolment.Deadline)
	defer cancel()
	s.say(conn, s.Join(ctx, addressOf(conn.RemoteAddr()), &said))
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
