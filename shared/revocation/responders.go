package revocation

import (
	"context"
	"crypto/x509"
	"errors"
	"time"
)

// Responders asks the OCSP responders of single certificates, and fetches no lists: for who has those from elsewhere.
// What it learns it keeps fresh for as long as somebody asks.
type Responders struct {
	room     *Room
	settings Settings
}

// NewResponders makes Responders with a room of their own, and starts nothing.
func NewResponders(settings Settings, options Options) *Responders {
	settings.NoLists = true
	return &Responders{room: New(options), settings: settings}
}

// Run fetches answers until ctx ends.
func (r *Responders) Run(ctx context.Context) error { return r.room.Run(ctx) }

// Ask says whether a certificate that issuer has signed is revoked. An error is why that is not known, or, of a revoked
// one, what was said. With wait it waits for an answer, for [Settings.Timeout] at most; else it says what is known
// already, and has fetched what will be asked for next.
func (r *Responders) Ask(ctx context.Context, cert, issuer *x509.Certificate, wait bool) (revoked bool, err error) {
	mode := StrictNow
	if wait {
		mode = Strict
	}
	err = r.room.Chain([]*x509.Certificate{cert, issuer}, r.settings).Check(ctx, mode, time.Now())
	return errors.Is(err, ErrRevoked), err
}
