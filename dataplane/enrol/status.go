package enrol

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
)

// Status is how this node stands, for people.
type Status struct {
	Identity, Environment, Serial string
	Joined                        bool // and not an operator's files
	Expires                       time.Time
	TrustSequence                 uint64
	RenewedAt                     time.Time // zero before the first renewal
	RenewalDue                    time.Time // zero where nothing is renewed here
	RenewalFailures               uint64    // since the start
	RenewalProblem                string    // of the last attempt
	TrustProblem                  string    // why the last bundle was not taken
	Wiped                         *Wiped
	Advice                        string // what to do, "" for nothing
}

// Status returns how this node stands at this moment.
func (m *Member) Status() Status {
	id := m.source.Identity()
	s := Status{
		Identity: id.String(), Environment: id.Environment, Serial: id.Serial, Joined: m.joined, Expires: id.NotAfter,
		TrustSequence: m.TrustSequence(), Wiped: m.wiped.Load(),
	}
	if m.joined {
		if number, err := m.folder.current(); err == nil && number > 0 {
			if held, err := m.folder.recordOf(number); err == nil && held.RenewedAt > 0 {
				s.RenewedAt = time.Unix(held.RenewedAt, 0)
			}
		}
	}
	m.mu.Lock()
	s.RenewalDue, s.RenewalFailures, s.RenewalProblem, s.TrustProblem = m.due, m.failed, m.problem, m.distrust
	m.mu.Unlock()
	s.Advice = m.adviceAt(time.Now())
	if s.Wiped != nil {
		s.RenewalDue, s.Advice = time.Time{}, s.Wiped.Advice(m.joined)
	}
	return s
}

// adviceAt says what to do about a certificate that has ended.
func (m *Member) adviceAt(now time.Time) string {
	id := m.source.Identity()
	switch {
	case now.Before(id.NotAfter):
		return ""
	case !m.joined:
		return fmt.Sprintf("the certificate %s expired %s: issue another one, and put it in its place", m.certFile, stamp(id.NotAfter))
	}
	return fmt.Sprintf("the certificate expired %s; on the control plane: keepgate-cp fleet invite --environment %s --name %s; then here: the line that it prints, with --again",
		stamp(id.NotAfter), id.Environment, id.Name)
}

// Advice says what to do about a node that was shut out.
func (w *Wiped) Advice(joined bool) string {
	text := "this node was shut out of its cluster and holds nothing any more. To let it in again: keepgate-cp fleet invite on the control plane, the line that it prints here, and a restart"
	if !joined {
		text += "; the files of cluster_cert and cluster_cert_key were left as they are: remove them, and unset cluster_cert"
	}
	return text
}

// same reports whether two bundles say the same.
func same(a, b *enrolv1.Trust) bool {
	return a.GetSequence() == b.GetSequence() && slices.EqualFunc(a.GetAuthorities(), b.GetAuthorities(), bytes.Equal) &&
		slices.EqualFunc(a.GetRevocationLists(), b.GetRevocationLists(), bytes.Equal)
}
