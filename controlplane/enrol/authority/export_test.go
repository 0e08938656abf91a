package authority

import "context"

// OfferLists does now what Run does every other second.
func (a *Authorities) OfferLists(ctx context.Context) { a.offerLists(ctx) }
