package node

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
)

// Level is the log's level, by Kong's names.
type Level interface {
	Name() string
	Set(name string) error
}

const (
	defaultLevelTime = time.Minute
	maxLevelTime     = 24 * time.Hour
)

// levelSwitch puts the level back after a time.
type levelSwitch struct {
	mu     sync.Mutex
	timer  *time.Timer // guarded by mu; nil: nothing to put back
	before string      // guarded by mu
}

func (a *API) logLevel(*rest.Request) (rest.Answer, error) {
	return rest.Message(http.StatusOK, "log level: "+a.deps.Level.Name()), nil
}

// setLogLevel changes the level for a while; ?timeout=0 for as long as the process runs.
func (a *API) setLogLevel(r *rest.Request) (rest.Answer, error) {
	lasts := defaultLevelTime
	if text := r.URL.Query().Get("timeout"); text != "" {
		seconds, err := strconv.Atoi(text)
		if err != nil || seconds < 0 || seconds > int(maxLevelTime/time.Second) {
			return rest.Answer{}, rest.Refuse(http.StatusBadRequest, "timeout must be a number of seconds between 0 and %d", int(maxLevelTime/time.Second))
		}
		lasts = time.Duration(seconds) * time.Second
	}
	s := &a.level
	s.mu.Lock()
	defer s.mu.Unlock()
	before := a.deps.Level.Name()
	if err := a.deps.Level.Set(r.Param(0)); err != nil {
		return rest.Answer{}, rest.Refuse(http.StatusBadRequest, "unknown log level: %s", r.Param(0))
	}
	if s.timer == nil {
		s.before = before
	} else {
		s.timer.Stop()
		s.timer = nil
	}
	if lasts > 0 {
		s.timer = a.putBack(lasts)
	}
	return rest.Message(http.StatusOK, "log level changed"), nil
}

// putBack waits; s.mu is held by the caller.
func (a *API) putBack(lasts time.Duration) (timer *time.Timer) {
	s := &a.level
	timer = time.AfterFunc(lasts, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.timer == timer { // nobody set another meanwhile
			_ = a.deps.Level.Set(s.before) // it was the level before
			s.timer = nil
		}
	})
	return timer
}

// Close puts the level back at once.
func (a *API) Close() {
	a.level.mu.Lock()
	defer a.level.mu.Unlock()
	if a.level.timer != nil {
		a.level.timer.Stop()
		a.level.timer = nil
		_ = a.deps.Level.Set(a.level.before) // it was the level before
	}
}
