package mtls

import (
	"slices"
	"time"
)

// Witness checks proofs without being anybody: the CA's certificates are enough, so that an auditor needs no
// key. It reads its files once.
type Witness struct{ trust *trust }

// OpenWitness reads the certificates of the trusted CAs and, unless that is "", their CRLs.
func OpenWitness(ca, crl string) (*Witness, error) {
	p := &papers{configured: crl != ""}
	data, err := readFile(ca, maxFile)
	if err != nil {
		return nil, invalid("mtls.OpenWitness", ca, err)
	}
	if p.cas, err = parseCAs(data); err != nil {
		return nil, invalid("mtls.OpenWitness", ca, err)
	}
	if crl != "" {
		if data, err = readFile(crl, maxCRLFile); err != nil {
			return nil, invalid("mtls.OpenWitness", crl, err)
		}
		if p.lists, err = parseLists(data); err != nil {
			return nil, invalid("mtls.OpenWitness", crl, err)
		}
	}
	t := &trust{papers: p, options: &Options{Mode: PKI}}
	files := Files{CA: ca, CRL: crl}
	t.gatherAuthorities(files, Bundle{})
	if err := t.gatherLists(files, Bundle{}); err != nil {
		return nil, invalid("mtls.OpenWitness", crl, err)
	}
	return &Witness{t}, nil
}

// Proven is [Source.Proven] for somebody of no organisation: that of the signer is not compared, but for what
// the caller makes of the identity.
func (w *Witness) Proven(context string, message, proof []byte, at Moment, roles ...Role) (Identity, error) {
	chain, certs, signature, err := decodeProof(proof)
	if err != nil {
		return Identity{}, unproven(nil, "%v", err)
	}
	seen, err := w.trust.believe(chain, certs, at, time.Now())
	if err != nil {
		return Identity{}, err
	}
	id, err := identityOf(seen.leaf)
	if err != nil {
		return Identity{}, err
	}
	if !slices.Contains(roles, id.Role) {
		return Identity{}, refuse(WrongRole, seen.leaf, "role %s, but only %s may say this", id.Role, roles)
	}
	for _, chain := range seen.chains {
		if err := checkConstraints(chain, id.Role); err != nil {
			return Identity{}, err
		}
	}
	if err := checkSignature(seen.leaf, signedDigest(context, chain, message), signature); err != nil {
		return Identity{}, unproven(seen.leaf, "%v", err)
	}
	w.trust.believed.keep(seen)
	return id, nil
}
