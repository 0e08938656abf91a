package mtls

import (
	"context"
	"crypto/tls"
	"math/rand/v2"
	"time"

	"github.com/keepgate/keepgate/shared/lifecycle"
)

// Run looks at the files again and again until ctx ends, and runs the responders. Only a whole, checked set
// replaces the one in use; why a set was refused is logged once.
func (s *Source) Run(ctx context.Context) error {
	if s.options.Responders == nil {
		return s.follow(ctx)
	}
	return lifecycle.Run(ctx,
		lifecycle.Part{Name: "certificate files", Run: s.follow}, lifecycle.Part{Name: "responders", Run: s.options.Responders.Run})
}

func (s *Source) follow(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(s.pause()):
		}
		s.poll()
	}
}

// pause spreads the looks by a fifth, so that many nodes on one file server do not look as one.
func (s *Source) pause() time.Duration {
	fifth := int64(s.options.Poll / 5)
	if fifth <= 0 {
		return s.options.Poll
	}
	return s.options.Poll + time.Duration(rand.Int64N(2*fifth)-fifth)
}

func (s *Source) poll() {
	s.mu.Lock()
	before := s.problem
	s.mu.Unlock()
	err := s.Reload()
	switch {
	case err != nil && err.Error() != before:
		s.options.Log.Error("cluster certificates on disk refused, the former ones stay in use", "err", err)
	case err == nil && before != "":
		s.options.Log.Info("cluster certificates on disk are in order again")
	}
	s.tell(time.Now())
}

// tell logs every notice once for each trust.
func (s *Source) tell(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, notice := range s.trust.Load().notices(s.files, now) {
		if _, told := s.told[notice]; told {
			continue
		}
		s.told[notice] = struct{}{}
		s.options.Log.Warn("cluster certificates: " + notice)
	}
}

// Reload reads the files now. On error the set in use stays; the error says which file is wrong and why.
func (s *Source) Reload() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.load(time.Now())
	if err != nil {
		err = s.load(time.Now()) // of a set that was replaced at that moment, half may have been read
	}
	s.problem = ""
	if err != nil {
		s.problem = err.Error()
	}
	return err
}

// load runs under mu.
func (s *Source) load(now time.Time) error {
	const op = "mtls.Reload"
	subject := "certificate/" + s.files.Cert
	found, err := read(s.files)
	if err != nil {
		return invalid(op, subject, err)
	}
	defer clear(found.key)
	old := s.trust.Load()
	if old != nil && old.digest == found.digest() {
		return nil
	}
	p, err := parse(s.files, found, &s.options)
	if err != nil {
		return invalid(op, subject, err)
	}
	next, err := combine(s.files, p, s.bundle, &s.options, now)
	if err != nil {
		return invalid(op, subject, err)
	}
	if old != nil {
		if err := checkProgress(old.lists, next.lists); err != nil {
			return invalid(op, subject, err)
		}
	}
	s.replace(old, next)
	if old != nil {
		s.options.Log.Info("cluster certificates reloaded", "identity", next.identity.String(),
			"serial", next.identity.Serial, "expires", stamp(next.identity.NotAfter), "revoked", next.revoked())
	}
	return nil
}

// replace runs under mu.
func (s *Source) replace(old, next *trust) {
	s.trust.Store(next)
	s.told = make(map[string]struct{})
	if old != nil {
		close(old.changed)
	}
}

// Changed returns a channel that is closed when another set of certificates or CRLs takes over. Ask for
// it before Check, so that no change falls between.
func (s *Source) Changed() <-chan struct{} { return s.trust.Load().changed }

// Watch returns when the peer of an established connection may no longer stay, with the refusal, or when
// ctx ends, with its cause. The owner of a long-lived stream runs it beside the stream and ends the
// stream when it returns.
func (s *Source) Watch(ctx context.Context, cs tls.ConnectionState, allow ...Role) error {
	for {
		changed := s.Changed()
		if err := s.Check(cs, allow...); err != nil {
			return err
		}
		// At least a second: the clock of the timer and that of the check need not agree.
		pause := max(time.Until(cs.PeerCertificates[0].NotAfter), 0) + time.Second
		if s.options.Responders != nil {
			pause = min(pause, askAgain)
		}
		again := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			again.Stop()
			return context.Cause(ctx)
		case <-changed:
			again.Stop()
		case <-again.C:
		}
	}
}
