package mtls

import (
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/proof"
	"github.com/keepgate/keepgate/shared/mtls/trust"
)

// Sign proves that the holder of this identity said message in context, as [proof.Book.Sign] does.
func (s *Source) Sign(context string, message []byte) ([]byte, error) {
	return s.current.Load().proofs.Sign(context, message)
}

// Proven returns who said message in context, as [proof.Book.Proven] does.
func (s *Source) Proven(context string, message, signed []byte, at proof.Moment, roles ...identity.Role) (identity.Identity, error) {
	return s.current.Load().proofs.Proven(context, message, signed, at, roles...)
}

// Believes says whether the chain of a proof was verified before, as [proof.Book.Believes] does.
func (s *Source) Believes(signed []byte) bool { return s.current.Load().proofs.Believes(signed) }

// OpenWitness reads the certificates of the trusted CAs and, unless that is "", their CRLs. It reads them once.
func OpenWitness(ca, crl string) (*proof.Witness, error) {
	given := trust.Given{CAFile: ca, CRLFile: crl, Listed: crl != ""}
	data, err := readFile(ca, maxFile)
	if err != nil {
		return nil, invalid("mtls.OpenWitness", ca, err)
	}
	if given.CAs, err = trust.ParseCAs(data); err != nil {
		return nil, invalid("mtls.OpenWitness", ca, err)
	}
	if crl != "" {
		if data, err = readFile(crl, maxCRLFile); err != nil {
			return nil, invalid("mtls.OpenWitness", crl, err)
		}
		if given.Lists, err = trust.ParseLists(data); err != nil {
			return nil, invalid("mtls.OpenWitness", crl, err)
		}
	}
	t, err := trust.OfNobody(given)
	if err != nil {
		return nil, invalid("mtls.OpenWitness", crl, err)
	}
	return proof.NewWitness(t), nil
}
