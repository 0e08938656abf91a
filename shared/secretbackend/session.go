package secretbackend

import (
	"context"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/vaultclient"
)

// current returns a session, and what to call when it is not used any more.
func (h *hcv) current(ctx context.Context) (session *vaultclient.Session, done func(), err error) {
	for {
		h.mu.RLock()
		if h.session != nil {
			return h.session, h.mu.RUnlock, nil
		}
		h.mu.RUnlock()
		if err := h.begin(ctx); err != nil {
			return nil, nil, err
		}
	}
}

// attempt is a login that is under way. Whoever needs a session meanwhile waits for it, and takes its error for their own.
type attempt struct {
	over   chan struct{} // closed in the end
	giveUp context.CancelFunc
	err    error // of a login that has failed; not of one that was given up, which says nothing to others
}

// begin sees to it that there is a session, or that there was a login: others may have ended its session already.
func (h *hcv) begin(ctx context.Context) error {
	h.mu.Lock()
	under := h.attempt
	switch {
	case h.session != nil:
		h.mu.Unlock()
		return nil
	case h.closed:
		h.mu.Unlock()
		return failed(fault.Unavailable, "the vault is not asked any more")
	case under != nil:
		h.mu.Unlock()
		select {
		case <-under.over:
			return under.err
		case <-ctx.Done():
			return failed(fault.Unavailable, "the login is not over yet")
		}
	}
	within, giveUp := context.WithCancel(ctx)
	defer giveUp()
	mine := &attempt{over: make(chan struct{}), giveUp: giveUp}
	h.attempt = mine
	h.mu.Unlock()
	defer close(mine.over)
	session, token, err := h.start(within)
	if within.Err() == nil {
		mine.err = err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.renewing.Lock()
	defer h.renewing.Unlock()
	h.session, h.renewal, h.attempt = session, renewalOf(token), nil
	return err
}

// start logs in and looks at the token.
func (h *hcv) start(ctx context.Context) (*vaultclient.Session, vaultclient.Token, error) {
	session, err := h.login(ctx)
	if err != nil {
		return nil, vaultclient.Token{}, err
	}
	token, err := session.Lookup(ctx)
	switch vaultclient.StepOf(err) {
	case "":
		return session, token, nil
	case vaultclient.StepDNS, vaultclient.StepTCP, vaultclient.StepTLS: // no time may be left to find that out once more
		_ = session.Close(ctx) // its time to live ends it too
		return nil, vaultclient.Token{}, err
	}
	return session, vaultclient.Token{}, nil // the first question tells what is wrong, if anything is
}

// renewalOf is when a token is renewed that would end: after half of its life, or of what is left of one that is not known. Who logs in
// for a moment, again and again, renews it too.
func renewalOf(token vaultclient.Token) time.Time {
	if !token.Renewable || token.TTL <= 0 {
		return time.Time{}
	}
	if token.Life > 0 {
		return time.Now().Add(token.TTL - token.Life/2)
	}
	return time.Now().Add(token.TTL / 2)
}

// renew lets the token live on, when it is time. A token that is not renewed ends some day; then there is a new login.
func (h *hcv) renew(ctx context.Context, session *vaultclient.Session) {
	h.renewing.Lock()
	due := !h.renewal.IsZero() && !time.Now().Before(h.renewal)
	if due {
		h.renewal = time.Now().Add(renewAgain) // nobody else meanwhile
	}
	h.renewing.Unlock()
	if !due {
		return
	}
	token, err := session.Renew(ctx)
	if err != nil {
		return
	}
	h.renewing.Lock()
	defer h.renewing.Unlock()
	h.renewal = renewalOf(token)
}

// end drops a session that is of no use, if it is still the current one.
func (h *hcv) end(ctx context.Context, session *vaultclient.Session) {
	h.mu.Lock()
	current := h.session == session
	if current {
		h.session = nil
	}
	h.mu.Unlock()
	if current {
		_ = session.Close(ctx) // its token is dead already
	}
}
