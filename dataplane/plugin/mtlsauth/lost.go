package mtlsauth

import (
	"slices"

	"github.com/keepgate/keepgate/dataplane/plugin"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// claim is a credential that cannot be decoded: what it may be for.
type claim struct {
	subject
	anyName, anyAuthority bool // that part of it is not known
}

func (c claim) may(be subject) bool {
	return (c.anyName || c.name == be.name) && (c.anyAuthority || c.authority == be.authority)
}

// hiddenNames are what consumers are called whom nobody is recognised as, in one way.
type hiddenNames struct {
	names map[string]bool
	any   bool // some are not known
}

func (h *hiddenNames) has(name string) bool { return h.any || h.names[name] }

func (h *hiddenNames) add(name string, known bool) {
	switch {
	case !known:
		h.any = true
	case name != "":
		if h.names == nil {
			h.names = map[string]bool{}
		}
		h.names[name] = true
	}
}

// Lose implements plugin.Cautious: a certificate is not taken for somebody else's because whose it is cannot be read.
// Authorities that are lost are missing from the trust of those who name them.
func (*Kind) Lose(made any, lost plugin.Lost) {
	s := made.(*Store)
	switch m := lost.Message.(type) {
	case *configv1.MtlsAuthCredential:
		c := claim{anyName: !lost.Sure("subject_name"), anyAuthority: !lost.Sure("ca_certificate")}
		if !c.anyName {
			c.name = m.GetSubjectName()
		}
		if !c.anyAuthority {
			c.authority = m.GetCaCertificate().GetId()
		}
		s.claims = append(s.claims, c)
	case *configv1.Consumer:
		s.hide(m, lost.Sure("username"), lost.Sure("custom_id"))
	}
}

func (s *Store) hide(m *configv1.Consumer, sureUsername, sureCustomID bool) {
	s.hidden[username].add(m.GetUsername(), sureUsername)
	s.hidden[customID].add(m.GetCustomId(), sureCustomID)
}

// owner says whose the credential for a subject makes a certificate, and whether there may be such a credential.
func (s *Store) owner(of subject) (found owner, told bool) {
	if known, ok := s.credentials[of]; ok {
		return owner{known.consumer, known.id, known.consumer == nil}, true
	}
	lost := slices.ContainsFunc(s.claims, func(c claim) bool { return c.may(of) })
	return owner{unsure: lost}, lost
}

// mayBePinned says whether there may be a credential for a name and one of these authorities.
func (s *Store) mayBePinned(called string, authorities []string) bool {
	return slices.ContainsFunc(authorities, func(id string) bool {
		_, told := s.owner(subject{called, id})
		return told
	})
}
