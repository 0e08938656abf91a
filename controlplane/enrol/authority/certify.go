package authority

import (
	"crypto"
	"crypto/x509"
	"errors"
	"time"

	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

var (
	errNone    = errors.New("no edge authority certifies data planes yet: keepgate-cp fleet authority create --dir DIR, where DIR is the folder of the cluster's CA")
	errExpired = errors.New("the edge authority that certifies data planes has expired: keepgate-cp fleet authority create --dir DIR, where DIR is the folder of the cluster's CA")
	errRevoked = errors.New("the edge authority that certifies data planes was revoked: keepgate-cp fleet authority create --dir DIR makes another one")
)

// Certify certifies a data plane's key. The chain begins with the certificate, and what stands between it and the authorities that are
// believed follows. The certificate ends with the edge authority at the latest. It is fault.Unavailable, with the remedy, while no edge
// authority signs. The caller has the certificate on record before anyone holds it.
func (a *Authorities) Certify(id identity.Identity, public crypto.PublicKey, valid time.Duration) (chain [][]byte, leaf *x509.Certificate, err error) {
	const op = "authority.Certify"
	subject := "certificate/" + id.Name
	if id.Organisation != a.deps.Organisation {
		return nil, nil, fault.Newf(fault.Invalid, op, subject, "organisation %q, and this is %q", id.Organisation, a.deps.Organisation)
	}
	edge, err := a.signer(time.Now())
	if err != nil {
		return nil, nil, fault.New(fault.Unavailable, op, subject, err)
	}
	key, err := edge.signer()
	if err != nil {
		return nil, nil, fault.New(fault.Corrupt, op, "edge/"+edge.Name, err)
	}
	if leaf, err = certs.CertifyNode(edge.cert, key, id, public, valid); err != nil {
		return nil, nil, err
	}
	return append([][]byte{leaf.Raw}, edge.Chain...), leaf, nil
}

// Ready says why no data plane could be certified now; nil when one could.
func (a *Authorities) Ready() error {
	_, err := a.signer(time.Now())
	if err != nil {
		return fault.New(fault.Unavailable, "authority.Ready", table, err)
	}
	return nil
}

// signer is the edge authority that signs.
func (a *Authorities) signer(now time.Time) (*edge, error) {
	doc := a.state.Load().doc
	e := doc.edge(Signing)
	switch {
	case e == nil && a.problemNow() != "":
		return nil, errors.New(a.problemNow())
	case e == nil:
		return nil, errNone
	case !now.Before(e.cert.NotAfter):
		return nil, errExpired
	case doc.revoked(e):
		return nil, errRevoked
	}
	return e, nil
}

// SignerAt is the fingerprint of the authority below which data planes were certified at a time; "" when that cannot be told any more.
func (a *Authorities) SignerAt(at time.Time) (fingerprint string) {
	last := int64(-1)
	for _, e := range a.state.Load().doc.Edges {
		if e.State != Pending && e.SignedAt <= at.Unix() && e.SignedAt >= last {
			last, fingerprint = e.SignedAt, e.Root
		}
	}
	return fingerprint
}

func (a *Authorities) problemNow() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.problem
}

// revoked says whether an authority of the document has revoked an edge authority.
func (d *document) revoked(e *edge) bool {
	for _, r := range d.Roots {
		if r.list == nil || e.cert.CheckSignatureFrom(r.cert) != nil {
			continue
		}
		for _, entry := range r.list.RevokedCertificateEntries {
			if entry.SerialNumber.Cmp(e.cert.SerialNumber) == 0 {
				return true
			}
		}
	}
	return false
}

func (e *edge) signer() (signer crypto.Signer, err error) {
	e.Key.Reveal(func(der []byte) {
		var key any
		if key, err = x509.ParsePKCS8PrivateKey(der); err != nil {
			err = errors.New("its key cannot be read") // without what stands there
			return
		}
		var ok bool
		if signer, ok = key.(crypto.Signer); !ok {
			err = errors.New("its key cannot sign")
		}
	})
	return signer, err
}
