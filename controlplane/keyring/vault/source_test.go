package vault_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

// source is a token that is kept elsewhere.
type source struct {
	mu    sync.Mutex
	token string // guarded by mu
	err   error  // guarded by mu
	asked int    // guarded by mu
}

func (s *source) set(token string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token, s.err = token, err
}

func (s *source) newest(context.Context) (secret.Bytes, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	return secret.Take([]byte(s.token)), s.err
}

// newSourced is a room whose token is kept elsewhere; what settings read of it at the start has ended since.
func newSourced(t *testing.T, edit func(r *room)) (*room, *source) {
	t.Helper()
	s := &source{}
	r := newRoom(t, func(r *room) {
		r.options.Token, r.options.TokenSource = secret.Take([]byte("hvs.canary-stale")), s.newest
		s.set(r.server.Token(time.Hour, "reads"), nil)
		if edit != nil {
			edit(r)
		}
	})
	return r, s
}

// Every login takes the newest token that is known.
func TestTokenSource(t *testing.T) {
	t.Parallel()
	r, s := newSourced(t, nil)
	r.server.Key("ring", one, long("1"))
	if err := r.now(""); err != nil || s.asked != 1 {
		t.Fatalf("Now = %v, asked %d times", err, s.asked)
	}
	first, second := s.token, r.server.Token(time.Hour, "reads")
	r.server.Revoke(first)
	err := r.now("")
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "wrong or expired") || strings.Contains(err.Error(), first) || strings.Contains(err.Error(), "canary") {
		t.Errorf("Now with a token that was revoked = %v", err)
	}
	s.set(second, nil)
	r.server.Key("ring", two, long("2"))
	if err := r.now(""); err != nil || r.ring.Keys().Active != two || s.asked != 3 {
		t.Errorf("Now after the rotation = %v, asked %d times", err, s.asked)
	}
	s.set(second, errors.New("its vault is sealed")) // the one that is known still does
	if err := r.now(""); err != nil || s.asked != 4 {
		t.Errorf("Now while nobody knows a newer one = %v", err)
	}
	s.set("canary is it", nil)
	if err := r.now(""); err == nil || !strings.Contains(err.Error(), "no token") || strings.Contains(err.Error(), "canary") {
		t.Errorf("Now with what is no token = %v", err)
	}
	for _, request := range r.server.Requests() {
		if request.Token == "hvs.canary-stale" {
			t.Fatal("a login was made with what the settings read at the start")
		}
	}
}

// A token that is given for this one time is taken, and nobody is asked for another.
func TestTokenSourceGivesWay(t *testing.T) {
	t.Parallel()
	r, s := newSourced(t, nil)
	r.server.Key("ring", one, long("1"))
	if err := r.now(r.server.Token(time.Hour, "reads")); err != nil || s.asked != 0 {
		t.Errorf("Now by a token of the caller's = %v, asked %d times", err, s.asked)
	}
}

// A rotation heals by itself: the attempt after a refusal finds the newer token.
func TestTokenSourceHealsByItself(t *testing.T) {
	t.Parallel()
	r, s := newSourced(t, func(r *room) { r.options.Poll = 20 * time.Millisecond })
	r.server.Key("ring", one, long("1"))
	r.run()
	r.await("the key", func() bool { return r.ring.Keys().Active == one })
	s.mu.Lock()
	first := s.token
	s.mu.Unlock()
	r.server.Revoke(first)
	r.await("the warning", func() bool { return strings.Contains(r.warnings(), "wrong or expired") })
	r.server.Key("ring", two, long("2"))
	s.set(r.server.Token(time.Hour, "reads"), nil)
	r.await("the second key", func() bool { return r.ring.Keys().Active == two && r.warnings() == "" })
	if logged := r.logged(); strings.Contains(logged, "canary") || strings.Contains(logged, first) {
		t.Errorf("a secret is logged: %s", logged)
	}
}
