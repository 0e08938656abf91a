package bus

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
)

const lookAgain = 500 * time.Millisecond // shorter than nats.go's wait between two attempts

func (b *Bus) connected(c *nats.Conn) {
	b.mu.Lock()
	b.problem, b.refused, b.told = "", false, newSeldom()
	b.mu.Unlock()
	if b.embedded == nil {
		b.log.Info("connected to NATS", "server", c.ConnectedUrlRedacted())
	}
}

// ended hears that a connection ended. A server that refuses has said why just before.
func (b *Bus) ended(c *nats.Conn, err error) {
	b.mu.Lock()
	refused := b.refused
	b.mu.Unlock()
	if !refused {
		b.lost(c, err)
	}
}

// lost tells why there is no connection.
func (b *Bus) lost(c *nats.Conn, err error) {
	if !c.IsClosed() && !errors.Is(err, errReplaced) {
		b.tell(err, func() bool { return true })
	}
}

// tell logs once what is the matter, if it still is: trying again fails for the same reasons for long.
func (b *Bus) tell(err error, still func() bool) {
	problem := b.explain(err)
	b.mu.Lock()
	due := false
	if still() {
		b.problem, b.refused, due = problem, isRefusal(err), b.told.due(problem)
	}
	b.mu.Unlock()
	if due {
		b.log.Warn("no connection to NATS: nodes hear of changes by polling the database and cannot give each other keys; "+
			"this node goes on trying", "reason", problem)
	}
}

// watch asks why the servers do not let this node in: before the first connection, nats.go tells the outcome of the first
// attempt alone.
func (b *Bus) watch(ctx context.Context) {
	ticker := time.NewTicker(lookAgain)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := b.conn.LastError(); isRefusal(err) && !errors.Is(err, errReplaced) {
			b.tell(err, func() bool { return !b.conn.IsConnected() && !b.conn.IsClosed() })
		}
	}
}

// isRefusal tells what concerns the login from a server that is away.
func isRefusal(err error) bool {
	if _, ours := errors.AsType[*fileError](err); ours {
		return true
	}
	for _, one := range []error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired, errReplaced} {
		if errors.Is(err, one) {
			return true
		}
	}
	return false
}

func (b *Bus) explain(err error) string {
	if file, ok := errors.AsType[*fileError](err); ok {
		return file.Error()
	}
	switch {
	case err == nil:
		return "the connection was closed"
	case errors.Is(err, nats.ErrNoServers):
		return "no server of nats_url answers"
	case errors.Is(err, nats.ErrSecureConnWanted):
		return "the server speaks no TLS, which nats_ca_cert or nats_cert ask for"
	}
	fact, mend := refusal(b.login, err)
	if mend == "" {
		return fact
	}
	return fact + ": " + mend
}

// refusal says why a server does not let a login in, and what mends that, as far as this side can tell; mend may be "".
func refusal(l *login, err error) (fact, mend string) {
	switch {
	case errors.Is(err, nats.ErrAuthExpired) && l != nil:
		return l.setting + ": the JWT ended", mendCredentials
	case errors.Is(err, nats.ErrAccountAuthExpired) && l != nil:
		return l.setting + ": the JWT of the account ended", "renew the account on the server (nsc edit account --expiry, nsc push)"
	case errors.Is(err, nats.ErrAuthRevoked) && l != nil:
		return l.setting + ": the user was revoked", mendCredentials
	case errors.Is(err, nats.ErrAuthorization) && l != nil:
		return l.refused()
	case errors.Is(err, nats.ErrAuthorization):
		return "the server does not know this login", "set nats_nkey_file, nats_credentials_file or nats_cert to one of the server's users"
	}
	return err.Error(), ""
}

// erred hears of what goes wrong on a connection, and of logins that are refused after the first one.
func (b *Bus) erred(c *nats.Conn, s *nats.Subscription, err error) {
	if s != nil && errors.Is(err, nats.ErrSlowConsumer) {
		if b.overrun.due(s.Subject) {
			b.log.Warn("more messages than this node can take: some were dropped", "subject", s.Subject)
		}
		return
	}
	if errors.Is(err, nats.ErrPermissionViolation) {
		b.mu.Lock()
		b.problem = "the server does not let this login publish and subscribe under keepgate.>: " + err.Error()
		b.mu.Unlock()
		if b.overrun.due(err.Error()) {
			b.log.Warn("NATS refuses a subject: nodes hear of changes by polling the database and may not be able to give each other keys; "+
				"let this login publish and subscribe under keepgate.>", "reason", err)
		}
		return
	}
	if isRefusal(err) {
		b.lost(c, err)
		return
	}
	b.log.Debug("NATS", "err", err)
}
