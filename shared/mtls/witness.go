package mtls

import (
	"crypto/x509"
	"slices"
	"time"
)

// Witness checks proofs without being anybody: the CA's certificates are enough, so that an auditor needs no
// key. It reads its files once.
type Witness struct{ trust *trust }

// OpenWitness reads the certificates of the trusted CAs and, unless that is "", their CRLs.
func OpenWitness(ca, crl string) (*Witness, error) {
	t := &trust{}
	data, err := readFile(ca, maxFile)
	if err != nil {
		return nil, invalid("mtls.OpenWitness", ca, err)
	}
	if t.cas, err = parseCAs(data); err != nil {
		return nil, invalid("mtls.OpenWitness", ca, err)
	}
	t.roots = x509.NewCertPool()
	for _, cert := range t.cas {
		t.roots.AddCert(cert)
	}
	if crl == "" {
		return &Witness{t}, nil
	}
	if data, err = readFile(crl, maxCRLFile); err != nil {
		return nil, invalid("mtls.OpenWitness", crl, err)
	}
	if t.lists, err = parseCRLs(data, t.cas); err != nil {
		return nil, invalid("mtls.OpenWitness", crl, err)
	}
	t.fallen = fallenCAs(t.cas, t.lists)
	return &Witness{t}, nil
}

// Proven is [Source.Proven] for somebody of no organisation: that of the signer is not compared, but for what
// the caller makes of the identity.
func (w *Witness) Proven(context string, message, proof []byte, at Moment, roles ...Role) (Identity, error) {
	chain, certs, signature, err := decodeProof(proof)
	if err != nil {
		return Identity{}, unproven(nil, "%v", err)
	}
	found, err := w.trust.believe(chain, certs, at, time.Now())
	if err != nil {
		return Identity{}, err
	}
	id, err := identityOf(found.leaf)
	if err != nil {
		return Identity{}, err
	}
	if !slices.Contains(roles, id.Role) {
		return Identity{}, refuse(WrongRole, found.leaf, "role %s, but only %s may say this", id.Role, roles)
	}
	if err := checkSignature(found.leaf, signedDigest(context, chain, message), signature); err != nil {
		return Identity{}, unproven(found.leaf, "%v", err)
	}
	w.trust.believed.keep(found)
	return id, nil
}
