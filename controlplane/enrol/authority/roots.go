package authority

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/trust"
)

const shortestFingerprint = 8 // of those that name an authority by how its fingerprint begins

// Trust has everybody believe authorities, beside those that are believed already, and takes the newest lists of what they have revoked.
// One that is believed may be given again, certified anew or with a newer list. Nothing is signed by it yet: see [Authorities.Request].
func (a *Authorities) Trust(ctx context.Context, authorities []*x509.Certificate, lists []*x509.RevocationList) error {
	const op = "authority.Trust"
	var names []string
	for _, ca := range authorities {
		names = append(names, Fingerprint(ca))
	}
	what := act{op, "authority.trust", "authority/" + strings.Join(names, ","), nil}
	return a.change(ctx, what, func(d *document, now time.Time) error {
		before, _ := d.encode()
		listed := d.allListed()
		for _, ca := range authorities {
			if err := d.add(ca, now); err != nil {
				return fault.New(fault.Invalid, op, "authority/"+Fingerprint(ca), err)
			}
		}
		for _, list := range lists {
			if err := d.keep(list); err != nil {
				return fault.New(fault.Invalid, op, what.subject, err)
			}
		}
		if err := d.checkLists(); err != nil {
			return fault.New(fault.Invalid, op, what.subject, err)
		}
		if listed && !d.allListed() {
			return fault.Newf(fault.Invalid, op, what.subject, "the authorities that are believed have lists of what they revoked, and this one comes without: "+
				"give its list too (--crl FILE), or everybody below it would be refused")
		}
		if after, _ := d.encode(); after == before {
			return errUnchanged
		}
		return nil
	})
}

// add puts an authority in, or its newer certificate in place of the one that is there.
func (d *document) add(ca *x509.Certificate, now time.Time) error {
	r := root{Certificate: ca.Raw, State: Trusted, AddedAt: now.Unix(), Since: d.Sequence}
	if err := r.complete(); err != nil {
		return err
	}
	switch {
	case !now.Before(ca.NotAfter):
		return fmt.Errorf("it expired %s", ca.NotAfter.UTC().Format(time.RFC3339))
	case len(ca.PermittedURIDomains) > 0:
		return fmt.Errorf("it is held to %s: that is no authority to believe, but one that stands below another", strings.Join(ca.PermittedURIDomains, ", "))
	}
	there := d.root(r.id)
	switch {
	case there == nil:
		d.Roots = append(d.Roots, r)
	case there.State == Retired:
		*there = r
	case ca.NotAfter.After(there.cert.NotAfter):
		there.Certificate, there.cert = ca.Raw, ca
	}
	return nil
}

// keep takes a list of what an authority has revoked, unless it has a newer one.
func (d *document) keep(list *x509.RevocationList) error {
	believed, _, _ := d.believed()
	for i := range d.Roots {
		r := &d.Roots[i]
		if r.State == Retired || !bytes.Equal(list.RawIssuer, r.cert.RawSubject) || list.CheckSignatureFrom(r.cert) != nil {
			continue
		}
		if list.Number == nil {
			return fmt.Errorf("the list of what %s has revoked has no number", r.cert.Subject.CommonName)
		}
		if err := trust.CheckBeside(list, r.list, r.cert, believed); err != nil { // no node would take it
			return fmt.Errorf("the list of what %s has revoked: %w", r.cert.Subject.CommonName, err)
		}
		if len(list.Raw) > maxListBytes {
			return fmt.Errorf("the list of what %s has revoked is longer than %d bytes: give it to nodes as a file (cluster_crl)", r.cert.Subject.CommonName, maxListBytes)
		}
		if r.list == nil || r.list.Number.Cmp(list.Number) < 0 {
			r.List, r.list = list.Raw, list
		}
		return nil
	}
	return fmt.Errorf("a list of revoked certificates by %s, which is not believed", list.Issuer.String())
}

// checkLists refuses lists that leave out an authority which is believed now.
func (d *document) checkLists() error {
	believed, _, _ := d.believed()
	for _, r := range d.Roots {
		if r.State == Retired || r.list == nil {
			continue
		}
		if err := trust.CheckBeside(r.list, nil, r.cert, believed); err != nil {
			return fmt.Errorf("the list of what %s has revoked: %w", r.cert.Subject.CommonName, err)
		}
	}
	return nil
}

// allListed says whether there is a list of every authority that is believed.
func (d *document) allListed() bool {
	return !slices.ContainsFunc(d.Roots, func(r root) bool { return r.State != Retired && r.list == nil })
}

// Retire has nobody believe an authority any more, whatever files say, with those that belong to it: the root above it, and what stands
// below. It is refused while the authority signs, while the certificate of somebody is of it, and while somebody does not believe the one
// that signs; force says that the latter two may be cut off.
func (a *Authorities) Retire(ctx context.Context, fingerprint string, force bool) error {
	const op = "authority.Retire"
	what := act{op, "authority.retire", fmt.Sprintf("authority/%.64q", fingerprint), forced(force)}
	return a.change(ctx, what, func(d *document, now time.Time) error {
		r, err := d.named(op, fingerprint)
		if err != nil {
			return err
		}
		if r.State == Retired {
			return errUnchanged
		}
		family := d.family(r.id)
		if err := a.mayRetire(ctx, op, d, family, force); err != nil {
			return err
		}
		for _, id := range family {
			if of := d.root(id); of.State != Retired {
				of.State, of.RetiredAt, of.List, of.list = Retired, now.Unix(), nil, nil
			}
		}
		return nil
	})
}

// named finds an authority by how its fingerprint begins.
func (d *document) named(op, fingerprint string) (found *root, err error) {
	wanted := strings.ReplaceAll(strings.ToLower(strings.TrimSpace(fingerprint)), ":", "")
	if len(wanted) < shortestFingerprint {
		return nil, fault.Newf(fault.Invalid, op, "authority", "%.64q is no fingerprint: give at least %d digits of one that keepgate-cp fleet authority list shows", fingerprint, shortestFingerprint)
	}
	for i := range d.Roots {
		if !strings.HasPrefix(d.Roots[i].id, wanted) {
			continue
		}
		if found != nil {
			return nil, fault.Newf(fault.Conflict, op, "authority/"+wanted, "several fingerprints begin like that")
		}
		found = &d.Roots[i]
	}
	if found == nil {
		return nil, fault.Newf(fault.NotFound, op, "authority/"+wanted, "there is no such authority: keepgate-cp fleet authority list shows them")
	}
	return found, nil
}

func (a *Authorities) mayRetire(ctx context.Context, op string, d *document, family []string, force bool) error {
	var signing *root
	left := 0
	for i := range d.Roots {
		r := &d.Roots[i]
		switch {
		case slices.Contains(family, r.id) && r.State == Signing:
			return fault.Newf(fault.Conflict, op, "authority/"+r.id, "this authority signs: have another one sign first, by keepgate-cp fleet authority create --dir DIR with its folder")
		case slices.Contains(family, r.id) || r.State == Retired:
		default:
			left++
			if r.State == Signing {
				signing = r
			}
		}
	}
	if left == 0 {
		return fault.Newf(fault.Conflict, op, "authority/"+family[0], "nobody would be believed any more: keepgate-cp fleet authority trust FILE first, with the next authority's certificate")
	}
	if force {
		return nil
	}
	needing, err := a.needing(ctx, d, family, signing)
	if err == nil && len(needing) > 0 {
		err = fault.Newf(fault.Conflict, op, "authority/"+family[0], "this authority is needed still: %s; wait for them, or say --force, and they are cut off",
			strings.Join(needing, ", "))
	}
	return err
}
