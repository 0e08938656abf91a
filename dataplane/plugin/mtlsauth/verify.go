package mtlsauth

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"github.com/keepgate/keepgate/shared/revocation"
)

const (
	maxPresented = 10 // certificates in a client's chain
	maxChains    = 4  // ways to an anchor that are looked at
)

var (
	oidNameConstraints = asn1.ObjectIdentifier{2, 5, 29, 30}
	oidAlternativeName = asn1.ObjectIdentifier{2, 5, 29, 17}
)

// trust is what an instance believes in, made of one store.
type trust struct {
	of     *Store
	digest [sha256.Size]byte // of all that the verdicts below depend on

	anchors *x509.CertPool
	between []*x509.Certificate // configured, but no anchors
	ids     map[string]string   // of the configured certificates, by their DER
	missing []string            // ids of configured certificates that are not there
	known   *cache
}

// trustOf makes the trust of a store, and keeps the verdicts when the CA certificates are the same as before.
func (i *instance) trustOf(s *Store) *trust {
	before := i.present.Load()
	if before != nil && before.of == s {
		return before
	}
	t := &trust{of: s, anchors: x509.NewCertPool(), ids: map[string]string{}}
	sum := sha256.New()
	for _, id := range i.authorities {
		certificate := s.authorities[id]
		if certificate == nil {
			t.missing = append(t.missing, id)
			continue
		}
		own := sha256.Sum256(certificate.Raw)
		sum.Write([]byte(id))
		sum.Write(own[:])
		t.ids[string(certificate.Raw)] = id
		if i.partial || selfSigned(certificate) {
			t.anchors.AddCert(certificate)
		} else {
			t.between = append(t.between, certificate)
		}
	}
	sum.Sum(t.digest[:0])
	if before != nil && before.digest == t.digest {
		t.known = before.known
	} else {
		t.known = newCache()
		if len(t.missing) > 0 {
			i.kind.log.absent(i.id, len(t.missing))
		}
	}
	i.present.Store(t)
	return t
}

func selfSigned(c *x509.Certificate) bool {
	return bytes.Equal(c.RawSubject, c.RawIssuer) && c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

// verdict is what was found out about a presented chain, but for what can change while it holds. It is read only.
type verdict struct {
	from, until time.Time
	refusal     string // why nobody is convinced, "" when the chain leads to an anchor

	ways        []way
	fingerprint string // of the leaf
}

func (v *verdict) holds(now time.Time) bool {
	return v != nil && now.Before(v.until) && !now.Before(v.from)
}

// way is one verified chain, and what it proves.
type way struct {
	authorities []string // ids of the configured certificates above the leaf, the nearest first
	strangers   bool     // others stand among them
	revocation  *revocation.Chain
	names       names
	groups      []string
}

// judge verifies what a client has presented. Whatever is wrong, the verdict says so.
func (i *instance) judge(t *trust, certificates []*x509.Certificate, now time.Time) *verdict {
	chains, called, err := i.verify(t, certificates, now)
	if err != nil {
		return &verdict{until: now.Add(min(i.lifetime, refusedLifetime)), refusal: err.Error()}
	}
	sum := sha256.Sum256(certificates[0].Raw)
	v := &verdict{until: now.Add(i.lifetime), fingerprint: hex.EncodeToString(sum[:])}
	for _, chain := range chains {
		v.limit(chain)
		v.ways = append(v.ways, i.walk(t, chain, called))
	}
	return v
}

var errLong = errors.New("the chain is too long")

func (i *instance) verify(t *trust, certificates []*x509.Certificate, now time.Time) ([][]*x509.Certificate, names, error) {
	if len(certificates) > maxPresented {
		return nil, names{}, errLong
	}
	between := x509.NewCertPool()
	for _, c := range slices.Concat(certificates[1:], t.between) {
		between.AddCert(c)
	}
	chains, err := certificates[0].Verify(x509.VerifyOptions{
		Roots: t.anchors, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, names{}, err
	}
	slices.SortStableFunc(chains, func(a, b []*x509.Certificate) int { return cmp.Compare(len(a), len(b)) })
	called, err := namesOf(certificates[0])
	return chains[:min(len(chains), maxChains)], called, err
}

// limit keeps a verdict from holding beyond the time of a certificate that it rests on.
func (v *verdict) limit(chain []*x509.Certificate) {
	for _, c := range chain {
		if c.NotAfter.Before(v.until) {
			v.until = c.NotAfter
		}
		if c.NotBefore.After(v.from) {
			v.from = c.NotBefore
		}
	}
}

func (i *instance) walk(t *trust, chain []*x509.Certificate, called names) way {
	w := way{names: called}
	for _, c := range chain[1:] {
		if id := t.ids[string(c.Raw)]; id != "" {
			w.authorities = append(w.authorities, id)
		} else {
			w.strangers = true
		}
		if constrained(c) {
			w.names = called.withoutCommon()
		}
	}
	if group := w.names.group(i.groupByDN); group != "" {
		w.groups = []string{group}
	}
	if i.mode != revocation.Skip {
		w.revocation = i.kind.room.Chain(chain, i.settings)
	}
	return w
}

// constrained says whether an authority may certify some names only. Constraints are checked on alternative names: in a
// common name such an authority could say anything.
func constrained(c *x509.Certificate) bool {
	return slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidNameConstraints) })
}
