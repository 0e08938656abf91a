package authority

import (
	"context"
	"crypto/x509"
	"time"

	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
)

// state is one document with what follows from it. It never changes.
type state struct {
	doc    document
	sealed string // the row's value as it rested; "" when there was none
	plain  string // the same, opened
	trust  *enrolv1.Trust
	began  time.Time // when this node took it over

	over context.Context // ends when another state takes over
	end  context.CancelFunc
}

func nothing() *state {
	s := &state{}
	s.over, s.end = context.WithCancel(context.Background())
	return s
}

// held is the state of a document.
func held(doc document, sealed, plain string) *state {
	s := nothing()
	s.doc, s.sealed, s.plain = doc, sealed, plain
	s.trust, s.began = doc.trust(), time.Now()
	return s
}

// none says that no document was ever seen.
func (s *state) none() bool { return s.doc.Sequence == 0 }

// trust is what data planes are told: all that is believed, with a list of each, or with none.
func (d document) trust() *enrolv1.Trust {
	t := &enrolv1.Trust{Sequence: d.Told}
	for _, r := range d.Roots {
		if r.State == Retired {
			continue
		}
		t.Authorities = append(t.Authorities, r.Certificate)
		if r.list != nil {
			t.RevocationLists = append(t.RevocationLists, r.List)
		}
	}
	if len(t.RevocationLists) < len(t.Authorities) {
		t.RevocationLists = nil
	}
	return t
}

// believed splits the authorities into those that count and those that do not any more.
func (d document) believed() (authorities, retired []*x509.Certificate, lists []*x509.RevocationList) {
	for _, r := range d.Roots {
		if r.State == Retired {
			retired = append(retired, r.cert)
			continue
		}
		authorities = append(authorities, r.cert)
		if r.list != nil {
			lists = append(lists, r.list)
		}
	}
	return authorities, retired, lists
}

// Bundle returns what data planes are told of whom to believe, and a channel that closes when that has changed. It is nil as long as
// there is no document: data planes then keep the files that their operators gave them.
func (a *Authorities) Bundle() (*enrolv1.Trust, <-chan struct{}) {
	s := a.state.Load()
	return s.trust, s.over.Done()
}
