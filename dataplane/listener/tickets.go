package listener

import (
	"crypto/tls"
	"encoding/binary"
	"time"
)

// tickets seals the sessions that clients may resume. A ticket carries the client's certificate past the handshake that
// proved it, so it also carries the key of the policy that this one ran under, and is good for no other policy. The sealing
// keys are crypto/tls's own, changed daily; they are the listener's, so that a change of the configuration loses no session.
type tickets struct {
	keys *tls.Config
	life time.Duration // 0: what crypto/tls allows, a week
}

func newTickets(life time.Duration) *tickets { return &tickets{keys: &tls.Config{}, life: life} }

// ticketMark opens our part of a session's extra data; the moment of sealing and the policy's key follow.
const ticketMark = "keepgate/1"

// under makes c issue and take tickets of one policy.
func (t *tickets) under(policy string, c *tls.Config) {
	c.WrapSession = func(cs tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
		session.Extra = append(session.Extra, ticketExtra(policy, time.Now()))
		return t.keys.EncryptTicket(cs, session)
	}
	c.UnwrapSession = func(ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		session, err := t.keys.DecryptTicket(ticket, cs)
		if err != nil || session == nil || !t.good(session, policy, time.Now()) {
			return nil, err // without a session the handshake goes on in full
		}
		return session, nil
	}
}

func ticketExtra(policy string, now time.Time) []byte {
	extra := binary.BigEndian.AppendUint64([]byte(ticketMark), uint64(now.Unix()))
	return append(extra, policy...)
}

// good says whether a session was made under policy, not too long ago.
func (t *tickets) good(session *tls.SessionState, policy string, now time.Time) bool {
	if len(session.Extra) != 1 {
		return false
	}
	extra := session.Extra[0]
	const head = len(ticketMark) + 8
	if len(extra) < head || string(extra[:len(ticketMark)]) != ticketMark || string(extra[head:]) != policy {
		return false
	}
	made := time.Unix(int64(binary.BigEndian.Uint64(extra[len(ticketMark):])), 0)
	return t.life <= 0 || now.Sub(made) <= t.life
}
