package authority

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"
)

// End destroys the key of the edge authority: nobody is certified by it any more, and what it certified is believed until that ends.
// Whom the planes believe stays. Another one may be made later ([Authorities.Request]).
func (a *Authorities) End(ctx context.Context) error {
	what := act{"authority.End", "authority.end", "authority/edge", nil}
	return a.change(ctx, what, func(d *document, _ time.Time) error {
		if !d.hasKeys() {
			return errUnchanged
		}
		d.Edges = slices.DeleteFunc(d.Edges, func(e edge) bool { return e.State == Pending })
		for i := range d.Edges {
			d.Edges[i].State, d.Edges[i].Key = Former, material{}
		}
		for i := range d.Roots {
			if d.Roots[i].State == Signing {
				d.Roots[i].State = Trusted
			}
		}
		return nil
	})
}

func (d *document) hasKeys() bool {
	return slices.ContainsFunc(d.Edges, func(e edge) bool { return !e.Key.IsZero() })
}

// Sealed refuses a document with a key, where a row would rest in clear or does: whoever reads the database could else certify data planes.
func Sealed(text string) error {
	var d document
	if json.Unmarshal([]byte(text), &d) == nil && !d.hasKeys() {
		return nil
	}
	return errors.New("the key of the edge authority never rests in clear: give cluster_trust a provider that encrypts (keyring_decrypt_all = off, or another than " +
		"identity first in encryption_provider_config), or end the authority before that (keepgate-cp fleet authority end): no data plane joins or renews then")
}
