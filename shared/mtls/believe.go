package mtls

import (
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/trust"
)

// Believe replaces what is believed beside the files, at once and as a whole. On error what was believed stays.
func (s *Source) Believe(b trust.Bundle) error {
	const op = "mtls.Believe"
	if s.options.Mode == trust.Shared {
		return fault.Newf(fault.Invalid, op, "bundle", "cluster_mtls = shared knows no authorities")
	}
	if err := b.Check(); err != nil {
		return fault.New(fault.Invalid, op, "bundle", err)
	}
	b = b.Clone()
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.Equal(s.bundle) {
		return nil
	}
	old := s.current.Load()
	next, err := trust.New(old.papers.own, old.papers.given, b, s.options.rules(), time.Now())
	if err != nil {
		return fault.New(fault.Invalid, op, "bundle", err)
	}
	s.bundle = b
	s.replace(old, old.papers, next)
	s.options.Log.Info("the authorities that are believed changed", "authorities", len(next.Authorities()), "retired", next.Retired())
	return nil
}
