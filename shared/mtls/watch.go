package mtls

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/keepgate/keepgate/shared/lifecycle"
	"github.com/keepgate/keepgate/shared/mtls/proof"
	"github.com/keepgate/keepgate/shared/mtls/trust"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
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
	for _, notice := range s.current.Load().notices(now) {
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
	defer clear(found.key) // after an error too: it may be another file's
	if err != nil {
		return invalid(op, subject, err)
	}
	old := s.current.Load()
	if old != nil && old.papers.digest == found.digest() {
		return nil
	}
	p, err := parse(s.files, found, &s.options)
	if err != nil {
		return invalid(op, subject, err)
	}
	next, err := trust.New(p.own, p.given, s.bundle, s.options.rules(), now)
	if err != nil {
		return invalid(op, subject, err)
	}
	if old != nil {
		if err := next.CheckProgress(old.Trust); err != nil {
			return invalid(op, subject, err)
		}
	}
	s.replace(old, p, next)
	if old != nil {
		s.options.Log.Info("cluster certificates reloaded", "identity", p.own.Identity.String(),
			"serial", p.own.Identity.Serial, "expires", verdict.Stamp(p.own.Identity.NotAfter), "revoked", next.RevokedCount())
	}
	return nil
}

// replace runs under mu.
func (s *Source) replace(old *current, p *papers, next *trust.Trust) {
	s.current.Store(&current{Trust: next, papers: p, proofs: proof.NewBook(next), changed: make(chan struct{})})
	s.told = make(map[string]struct{})
	if old != nil {
		close(old.changed)
	}
}
