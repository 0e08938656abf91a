package bus

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
)

// However often each of several servers is tried, its trouble is told once, until there was a connection.
func TestTroubleIsToldOnce(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	b := &Bus{log: slog.New(slog.NewTextHandler(&log, nil)), told: newSeldom()}
	conn := &nats.Conn{}
	away := errors.New("dial tcp 192.0.2.1:4222: connection refused")
	for range 2 {
		log.Reset()
		for range 3 {
			b.lost(conn, away)
			b.erred(conn, nil, nats.ErrAuthorization)
		}
		if told := strings.Count(log.String(), "no connection to NATS"); told != 2 || !strings.Contains(log.String(), "does not know this login") {
			t.Errorf("told %d times: %s", told, log.String())
		}
		b.connected(conn)
	}
}

// What a server says before it ends a connection is not hidden by that end.
func TestTheEndDoesNotHideItsReason(t *testing.T) {
	t.Parallel()
	b := &Bus{log: slog.New(slog.DiscardHandler), told: newSeldom()}
	conn := &nats.Conn{}
	b.erred(conn, nil, nats.ErrAuthorization)
	b.ended(conn, errors.New("EOF"))
	if !strings.Contains(b.problem, "does not know this login") {
		t.Errorf("the problem is %q", b.problem)
	}
	b.lost(conn, errors.New("away"))
	b.ended(conn, errors.New("EOF"))
	if b.problem != "EOF" {
		t.Errorf("the problem is %q, though the refusal is past", b.problem)
	}
}
