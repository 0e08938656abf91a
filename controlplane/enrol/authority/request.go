package authority

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/privatekey"
	"github.com/keepgate/keepgate/shared/secret"
)

// leastLife is what an edge authority has to have before it at least: less is of no use to what it signs.
const leastLife = 24 * time.Hour

const nameBytes = 4 // random, of a name

// Request is what an authority is asked to sign.
type Request struct {
	Name string // of the edge authority
	PEM  []byte // PKCS #10 (RFC 2986)
}

// Request makes the key of an edge authority and asks that the authority `by` certify it; [Authorities.Install] takes what it answers. As
// long as that has not happened the same request is given again, so that a command that was interrupted is just run again.
//
// It is refused while somebody does not believe that authority yet, and says who; force says that they are not to be waited for.
func (a *Authorities) Request(ctx context.Context, by *x509.Certificate, force bool) (Request, error) {
	const op = "authority.Request"
	what := act{op, "authority.request", "authority/" + Fingerprint(by), forced(force)}
	var asked edge
	err := a.change(ctx, what, func(d *document, now time.Time) error {
		if err := a.mayCertify(ctx, op, d, d.above(by), force); err != nil {
			return err
		}
		if pending := d.edge(Pending); pending != nil {
			asked = *pending
			return errUnchanged
		}
		made, err := newEdge(now)
		if err != nil {
			return fault.New(fault.Internal, op, table, err)
		}
		asked = made
		d.Edges = append(d.Edges, made)
		return nil
	})
	if err != nil {
		return Request{}, err
	}
	key, err := asked.signer()
	if err != nil {
		return Request{}, fault.New(fault.Corrupt, op, "edge/"+asked.Name, err)
	}
	text, err := certs.EdgeRequest(key, a.deps.Organisation, asked.Name)
	return Request{asked.Name, text}, err
}

// above is the fingerprint of a CA, or of the one above it where the document does not name it.
func (d *document) above(ca *x509.Certificate) string {
	id := Fingerprint(ca)
	if d.root(id) != nil {
		return id
	}
	for _, r := range d.Roots {
		if r.State != Retired && ca.CheckSignatureFrom(r.cert) == nil {
			return r.id
		}
	}
	return id
}

func forced(force bool) []string {
	if force {
		return []string{"force", "yes"}
	}
	return nil
}

func newEdge(now time.Time) (edge, error) {
	key, _, err := privatekey.New()
	if err != nil {
		return edge{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return edge{}, err
	}
	tag := make([]byte, nameBytes)
	_, _ = rand.Read(tag) // never fails: crypto/rand ends the process instead
	name := fmt.Sprintf("edge-%s-%s", now.UTC().Format("20060102"), hex.EncodeToString(tag))
	return edge{Name: name, State: Pending, Key: material{secret.Take(der)}, CreatedAt: now.Unix()}, nil
}

// mayCertify says why an authority may not certify an edge authority now.
func (a *Authorities) mayCertify(ctx context.Context, op string, d *document, id string, force bool) error {
	r := d.root(id)
	switch {
	case r == nil:
		return fault.Newf(fault.Conflict, op, "authority/"+id, "nobody believes this authority: keepgate-cp fleet authority trust FILE first, with its certificate")
	case r.State == Retired:
		return fault.Newf(fault.Conflict, op, "authority/"+id, "this authority was retired")
	}
	if force {
		return nil
	}
	waiting, err := a.lacking(ctx, r)
	if err == nil && len(waiting) > 0 {
		err = fault.Newf(fault.Conflict, op, "authority/"+id, "not everybody believes this authority yet: %s; wait for them, or say --force, "+
			"and they are not waited for", strings.Join(waiting, ", "))
	}
	return err
}

// Install takes the certificate that was asked for, with what stands above it. The edge authority signs from then on, and data planes
// below other authorities are told to renew.
func (a *Authorities) Install(ctx context.Context, chain []*x509.Certificate, force bool) error {
	const op = "authority.Install"
	if len(chain) == 0 {
		return fault.Newf(fault.Invalid, op, table, "there is no certificate")
	}
	what := act{op, "authority.install", "certificate/" + identity.SerialText(chain[0].SerialNumber), forced(force)}
	return a.change(ctx, what, func(d *document, now time.Time) error {
		if e := d.edge(Signing); e != nil && chain[0].Equal(e.cert) {
			return errUnchanged
		}
		e := d.edge(Pending)
		if e == nil || !e.keyOf(chain[0]) {
			return fault.Newf(fault.Conflict, op, what.subject, "nothing was asked for that this certifies; another command may have been faster: keepgate-cp fleet authority list shows what signs")
		}
		id, err := d.accept(e, chain, a.deps.Organisation, now)
		if err != nil {
			return fault.New(fault.Invalid, op, what.subject, err)
		}
		if err := a.mayCertify(ctx, op, d, id, force); err != nil {
			return err
		}
		d.promote(id, e.Name, now)
		return nil
	})
}

func (e *edge) keyOf(cert *x509.Certificate) bool {
	key, err := e.signer()
	if err != nil {
		return false
	}
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(cert.PublicKey)
}

// accept checks an edge authority's certificate and gives it to the edge. It returns the fingerprint of the authority that signed it, or
// of the one above that where the document does not name it.
func (d *document) accept(e *edge, chain []*x509.Certificate, organisation string, now time.Time) (id string, err error) {
	cert := chain[0]
	if err := certs.CheckEdge(cert); err != nil {
		return "", err
	}
	if !slices.Equal(cert.Subject.Organization, []string{organisation}) {
		return "", fmt.Errorf("it is of the organisation %.100q, and this is %q", cert.Subject.Organization, organisation)
	}
	if cert.NotAfter.Sub(now) < leastLife {
		return "", fmt.Errorf("it ends %s already", cert.NotAfter.UTC().Format(time.RFC3339))
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, r := range d.Roots {
		if r.State != Retired {
			roots.AddCert(r.cert)
		}
	}
	for _, above := range chain[1:] {
		between.AddCert(above)
	}
	found, err := cert.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return "", fmt.Errorf("it is not of an authority that is believed: %w", err)
	}
	e.cert, e.Chain = cert, [][]byte{cert.Raw}
	if d.revoked(e) {
		return "", errors.New("it was revoked")
	}
	way := slices.MinFunc(found, func(x, y []*x509.Certificate) int { return len(x) - len(y) })
	id = Fingerprint(way[len(way)-1])
	for _, above := range longest(found)[1:] {
		if above.CheckSignatureFrom(above) != nil { // those who believe the root alone are shown what is between
			e.Chain = append(e.Chain, above.Raw)
		}
	}
	return id, nil
}

func longest(chains [][]*x509.Certificate) []*x509.Certificate {
	return slices.MaxFunc(chains, func(x, y []*x509.Certificate) int { return len(x) - len(y) })
}

// promote makes the pending edge authority the one that signs, and the one before a former one, whose key is not needed any more.
func (d *document) promote(id, name string, now time.Time) {
	for i := range d.Edges {
		e := &d.Edges[i]
		switch {
		case e.Name == name:
			e.State, e.Root, e.SignedAt = Signing, id, now.Unix()
		case e.State == Signing:
			e.State, e.Key = Former, material{}
		}
	}
	for i := range d.Roots {
		r := &d.Roots[i]
		switch {
		case r.id == id:
			r.State = Signing
		case r.State == Signing:
			r.State = Trusted
		}
	}
}
