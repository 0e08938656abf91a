package bus

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

const (
	sayAgain  = 10 * time.Minute
	maxSeldom = 256
)

// seldom lets each text pass once in a while: nats-server tells of a node that is away every second.
type seldom struct {
	mu   sync.Mutex
	last map[string]time.Time // guarded by mu; at most maxSeldom
}

func newSeldom() *seldom { return &seldom{last: make(map[string]time.Time)} }

func (s *seldom) due(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if last, said := s.last[text]; said && now.Sub(last) < sayAgain {
		return false
	}
	if len(s.last) >= maxSeldom {
		clear(s.last)
	}
	s.last[text] = now
	return true
}

// logger gives nats-server's words to slog. What is an error to nats-server is at most a warning here: no
// message is lost that matters.
type logger struct {
	log    *slog.Logger
	seldom *seldom

	mu     sync.Mutex
	failed error // guarded by mu
}

func newLogger(log *slog.Logger) *logger { return &logger{log: log, seldom: newSeldom()} }

// Noticef, Debugf and Tracef are of interest to who debugs alone.
func (l *logger) Noticef(format string, v ...any) { l.debug(format, v...) }

func (l *logger) Debugf(format string, v ...any) { l.debug(format, v...) }

func (l *logger) Tracef(format string, v ...any) { l.debug(format, v...) }

func (l *logger) debug(format string, v ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("nats-server", "says", fmt.Sprintf(format, v...))
	}
}

// Warnf and Errorf tell each kind of thing once in a while.
func (l *logger) Warnf(format string, v ...any) { l.warn(format, v...) }

func (l *logger) Errorf(format string, v ...any) { l.warn(format, v...) }

func (l *logger) warn(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	// What is said of a connection begins with its address and number.
	level, key := slog.LevelWarn, format[strings.LastIndex(format, " - ")+1:]
	switch {
	case strings.Contains(text, "will not be verified"):
		level = slog.LevelDebug // it is, in VerifyConnection: see links
	case strings.Contains(text, "Error trying to connect to route"):
		// Nodes start in any order, and one may be away for long.
		level, key = slog.LevelInfo, fmt.Sprint(v[len(v)-1])
	case strings.Contains(text, "handshake error"):
		l.refused(text, v)
		return
	}
	if !l.seldom.due(key) {
		level = slog.LevelDebug
	}
	l.log.Log(context.Background(), level, "nats-server", "says", text)
}

// refused tells who was not let in, or did not let this node in.
func (l *logger) refused(text string, v []any) {
	for _, value := range v {
		err, ok := value.(error)
		if !ok {
			continue
		}
		refusal := verdict.Explain(err)
		if refusal.Reason == verdict.Left || refusal.Reason == verdict.NotTLS {
			break // a probe of the port
		}
		if l.seldom.due(string(refusal.Reason) + refusal.Subject) {
			l.log.Warn("NATS route refused", "reason", refusal.Error())
			return
		}
	}
	l.debug("%s", text)
}

// Fatalf is called when the server cannot start.
func (l *logger) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = fmt.Errorf(format, v...)
	}
}

func (l *logger) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}
