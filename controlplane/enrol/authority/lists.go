package authority

import (
	"context"
	"crypto/x509"
	"time"

	"github.com/keepgate/keepgate/shared/mtls/identity"
)

func serialOf(cert *x509.Certificate) string { return identity.SerialText(cert.SerialNumber) }

// offerLists puts lists of revoked certificates into the document that are newer in this node's files, so that they reach the other nodes
// and all data planes.
func (a *Authorities) offerLists(ctx context.Context) {
	lists := a.newer(a.state.Load().doc)
	if len(lists) == 0 || a.deps.Sealing() != nil {
		return
	}
	what := act{"authority.Run", "authority.lists", table, nil}
	err := a.change(ctx, what, func(d *document, _ time.Time) error {
		newer := a.newer(*d)
		if len(newer) == 0 {
			return errUnchanged
		}
		for _, list := range newer {
			if err := d.keep(list); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		a.options.Log.WarnContext(ctx, "a newer list of revoked certificates was not given to the other nodes and to data planes", "error", err)
	}
}

// newer are the lists that this node has, and a document has not.
func (a *Authorities) newer(d document) (lists []*x509.RevocationList) {
	for _, r := range d.Roots {
		der, found := a.deps.Files.List(r.cert)
		if r.State == Retired || !found || len(der) > maxListBytes {
			continue
		}
		list, err := x509.ParseRevocationList(der)
		if err != nil || list.Number == nil || r.list != nil && list.Number.Cmp(r.list.Number) <= 0 {
			continue
		}
		lists = append(lists, list)
	}
	return lists
}
