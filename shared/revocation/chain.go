package revocation

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// Mode is how much must be known.
type Mode uint8

const (
	// Skip asks nothing.
	Skip Mode = iota
	// IgnoreErrors refuses what is known to be revoked, and lets pass what is not known.
	IgnoreErrors
	// Strict refuses what is not known to be good, and waits to know.
	Strict
	// StrictNow refuses what is not known to be good at once.
	StrictNow
)

// ErrRevoked is the reason of a refusal that somebody has stated.
var ErrRevoked = errors.New("the certificate is revoked")

// Chain is one verified chain, with the places where its certificates are asked about. It is safe for concurrent use
// and small; what was fetched belongs to the room.
type Chain struct {
	timeout time.Duration
	links   []link
}

// link is one certificate below the anchor. Either source may be nil.
type link struct {
	cert, issuer *x509.Certificate
	serial       serial
	ocsp, crl    *source
}

// Chain makes the Chain of certificates that verify each other, the leaf first and the anchor last.
func (r *Room) Chain(verified []*x509.Certificate, settings Settings) *Chain {
	c := &Chain{timeout: settings.Timeout}
	for i := 0; i+1 < len(verified); i++ {
		cert, issuer := verified[i], verified[i+1]
		c.links = append(c.links, link{
			cert: cert, issuer: issuer, serial: serialOf(cert.SerialNumber),
			ocsp: r.source(settings, ofOCSP, cert, issuer),
		})
		if !settings.NoLists {
			c.links[i].crl = r.source(settings, ofCRL, cert, issuer)
		}
	}
	return c
}

// Check says why the chain must not be trusted, or nil. Only Strict waits, at most as long as a fetch may take, and
// not beyond ctx. It allocates nothing when it returns nil and has not waited.
func (c *Chain) Check(ctx context.Context, mode Mode, now time.Time) error {
	if mode == Skip {
		return nil
	}
	switch d := c.look(now); {
	case d.state == good, d.state == unknown && mode == IgnoreErrors:
		return nil
	case d.state == revoked:
		return d.revoked()
	case mode == StrictNow:
		return d.unknown()
	}
	return c.await(ctx)
}

// doubt is a certificate that is not known to be good; when there is none its state is good.
type doubt struct {
	*link
	state   state
	pending <-chan struct{} // closed when something more may be known; nil when nothing is under way
}

func (d doubt) revoked() error {
	return fmt.Errorf("%w: serial number %s", ErrRevoked, hexOf(d.cert.SerialNumber))
}

func (d doubt) unknown() error {
	return fmt.Errorf("its revocation status is not known: serial number %s: %w", hexOf(d.cert.SerialNumber), d.why())
}

// look asks for all certificates at once, so that what is missing is fetched at once. It returns the first that is
// revoked, else the first that is not known to be good.
func (c *Chain) look(now time.Time) doubt {
	first := doubt{state: good}
	for i := range c.links {
		l := &c.links[i]
		switch state, pending := l.look(now); {
		case state == revoked:
			return doubt{l, state, nil}
		case state == unknown && first.state == good:
			first = doubt{l, state, pending}
		}
	}
	return first
}

// look prefers what OCSP says, and asks for the list when OCSP cannot tell. What either knows to be revoked is.
func (l *link) look(now time.Time) (found state, pending <-chan struct{}) {
	if l.ocsp != nil {
		pending = l.ocsp.touch(now)
		found = l.ocsp.state(&l.serial, now)
	}
	if l.crl == nil || found == revoked {
		return found, pending
	}
	if found == unknown && (pending == nil || l.crl.answer.Load() != nil) {
		if listed := l.crl.touch(now); pending == nil {
			pending = listed
		}
	}
	listed := l.crl.state(&l.serial, now)
	if listed == revoked && found == good {
		l.crl.touch(now) // or nobody would hear that the list has changed its mind
	}
	if listed == revoked || found == unknown {
		found = listed
	}
	return found, pending
}

// await waits until every certificate is known to be good, one is not, or nothing more can be learned in time.
func (c *Chain) await(ctx context.Context) error {
	timer := time.NewTimer(c.timeout)
	defer timer.Stop()
	for {
		d := c.look(time.Now())
		switch {
		case d.state == good:
			return nil
		case d.state == revoked:
			return d.revoked()
		case d.pending == nil:
			return d.unknown()
		}
		select {
		case <-d.pending:
		case <-timer.C:
			return fmt.Errorf("its revocation status did not come in time: serial number %s", hexOf(d.cert.SerialNumber))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// why says what kept a certificate from being known.
func (l *link) why() error {
	var reasons []error
	for _, s := range [...]*source{l.ocsp, l.crl} {
		if s == nil {
			continue
		}
		if failure := s.failure.Load(); failure != nil {
			reasons = append(reasons, fmt.Errorf("%s: %w", s.kind, *failure))
		}
	}
	if len(reasons) == 0 {
		return errors.New("it names no http address to ask at")
	}
	return errors.Join(reasons...)
}
