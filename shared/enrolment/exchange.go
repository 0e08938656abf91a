package enrolment

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

// ErrUnanswered means that the token was said, and no answer came. The same key may be asked for again: a control plane
// that has certified it hands over the same certificate.
var ErrUnanswered = errors.New("the control plane did not answer")

// Refused is what the control plane said instead of a certificate.
type Refused struct {
	Reason string
	Again  bool // nothing was used up
}

func (r *Refused) Error() string { return "the control plane refuses: " + r.Reason }

// Answer is a certificate and who gave it.
type Answer struct {
	Issued *enrolv1.Issued
	From   identity.Identity
	TLS    tls.ConnectionState // of the exchange, for what else a caller wants of the certificate shown
}

// Exchange joins by one control plane node: it dials, looks whom it has reached, and only then says the token. The
// request's token is filled in here. Errors are a *[Refused], one of this package's, or what the network said.
func Exchange(ctx context.Context, dial func(context.Context) (net.Conn, error), token Token, request *enrolv1.JoinRequest) (*Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, Deadline)
	defer cancel()
	raw, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	defer context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })()
	answer := &Answer{}
	conn := tls.Client(raw, &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{Protocol}, SessionTicketsDisabled: true,
		// A node that joins knows a hash and no name. VerifyConnection asks for more than the standard check does.
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) (err error) {
			answer.From, err = CheckPeer(cs, token.Root, time.Now())
			return err
		},
	})
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, handshakeError(err)
	}
	answer.TLS = conn.ConnectionState()
	var response enrolv1.JoinResponse
	if err := say(conn, token, request, &response); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnanswered, err)
	}
	if refusal := response.GetRefusal(); refusal != nil {
		return nil, &Refused{Reason: refusal.GetReason(), Again: refusal.GetAgain()}
	}
	if answer.Issued = response.GetIssued(); answer.Issued == nil {
		return nil, errors.New("the control plane answered with neither a certificate nor a refusal")
	}
	return answer, nil
}

func say(conn net.Conn, token Token, request *enrolv1.JoinRequest, response *enrolv1.JoinResponse) error {
	filled := &enrolv1.JoinRequest{
		Request: request.GetRequest(), Name: request.GetName(), Hostname: request.GetHostname(), Version: request.GetVersion(),
	}
	token.Text().Reveal(func(text []byte) { filled.Token = string(text) })
	if err := WriteFrame(conn, filled); err != nil {
		return err
	}
	return ReadFrame(conn, response)
}

func handshakeError(err error) error {
	for _, known := range []error{ErrOtherRoot, ErrClock, ErrNoJoin, ErrNotControlPlane} {
		if errors.Is(err, known) {
			return err
		}
	}
	refusal := verdict.Explain(err)
	if refusal.Reason == verdict.RefusedByPeer && strings.Contains(refusal.Detail, "no application protocol") {
		return fmt.Errorf("%w: it speaks TLS, and knows nothing of joining", ErrNoJoin)
	}
	if refusal.Reason == verdict.NotTLS {
		return fmt.Errorf("%w: it does not speak TLS", ErrNoJoin)
	}
	return refusal
}
