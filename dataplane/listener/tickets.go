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
	life time.Duration
}

func newTickets(life time.Duration) *tickets {
	const most = 7 * 24 * time.Hour // crypto/tls's, RFC 8446 §4.6.1
	if life <= 0 || life > most {
		life = most
	}
	return &tickets{keys: &tls.Config{}, life: life}
}

// ticketMark opens our part of a session's extra data; the moment of the handshake that it goes back to and the policy's
// key follow.
const ticketMark = "keepgate/1"

// under makes c issue and take tickets of one policy. Once says that c is for one handshake: when that resumes a session, the
// next ticket goes back to the same moment, so that a client has to prove its certificate again in time, however often it resumes.
func (t *tickets) under(policy string, c *tls.Config, once bool) {
	var began time.Time // of one handshake: when the session began that it resumes
	c.WrapSession = func(cs tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
		since := time.Now()
		if once && cs.DidResume {
			since = began
		}
		session.Extra = append(session.Extra, ticketExtra(policy, since))
		return t.keys.EncryptTicket(cs, session)
	}
	c.UnwrapSession = func(ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		session, err := t.keys.DecryptTicket(ticket, cs)
		if err != nil || session == nil {
			return nil, err // without a session the handshake goes on in full
		}
		made, good := t.good(session, policy, time.Now())
		if !good {
			return nil, nil
		}
		if once {
			began = made
		}
		return session, nil
	}
}

func ticketExtra(policy string, since time.Time) []byte {
	extra := binary.BigEndian.AppendUint64([]byte(ticketMark), uint64(since.Unix()))
	return append(extra, policy...)
}

// good says whether a session was made under policy, not too long ago, and when.
func (t *tickets) good(session *tls.SessionState, policy string, now time.Time) (made time.Time, good bool) {
	if len(session.Extra) != 1 {
		return made, false
	}
	extra := session.Extra[0]
	const head = len(ticketMark) + 8
	if len(extra) < head || string(extra[:len(ticketMark)]) != ticketMark || string(extra[head:]) != policy {
		return made, false
	}
	made = time.Unix(int64(binary.BigEndian.Uint64(extra[len(ticketMark):])), 0)
	return made, now.Sub(made) <= t.life
}
