package trust

import (
	"bytes"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

const expiresSoon = 14 * 24 * time.Hour

// Notices lists what is not an error but should be mended. The texts do not change from one second to the
// next, so that each is logged once.
func (t *Trust) Notices(now time.Time) []string {
	var notices []string
	say := func(format string, args ...any) { notices = append(notices, fmt.Sprintf(format, args...)) }
	leaf := t.own.Pair.Leaf
	switch {
	case now.After(leaf.NotAfter):
		say("certificate %s expired %s: every peer will refuse it", t.own.CertFile, verdict.Stamp(leaf.NotAfter))
	case now.Before(leaf.NotBefore):
		say("certificate %s is valid from %s on: compare the clocks", t.own.CertFile, verdict.Stamp(leaf.NotBefore))
	case leaf.NotAfter.Sub(now) < expiresSoon:
		say("certificate %s expires soon, %s", t.own.CertFile, verdict.Stamp(leaf.NotAfter))
	}
	if t.rules.Mode == Shared {
		say("cluster_mtls = shared: every node has the same key and can pose as any other, and nothing can be revoked; pki tells them apart")
		return notices
	}
	for _, ca := range t.cas {
		if now.After(ca.NotAfter) {
			say("CA %s in %s expired %s", identity.Quote(ca.Subject.String()), t.given.CAFile, verdict.Stamp(ca.NotAfter))
		}
	}
	if t.lists == nil {
		say("no CRL is configured: revoked certificates are not noticed")
	}
	for _, list := range t.sorted() {
		if list.stale(now) {
			say("CRL %s by %s should have been replaced by %s: it is still used", t.given.CRLFile, identity.Quote(list.name), verdict.Stamp(list.nextUpdate))
		}
		if _, revoked := list.serials[t.own.Identity.Serial]; revoked && bytes.Equal(leaf.RawIssuer, list.rawIssuer) {
			say("certificate %s is itself revoked: every peer will refuse it", t.own.CertFile)
		}
	}
	return append(notices, t.extra...)
}

func (t *Trust) sorted() []*revocations {
	return slices.SortedFunc(maps.Values(t.lists), func(a, b *revocations) int { return strings.Compare(a.name, b.name) })
}

// ListStatus is one revocation list in use.
type ListStatus struct {
	Issuer     string
	Number     *big.Int
	ThisUpdate time.Time
	NextUpdate time.Time // zero when the list does not say
	Revoked    int
	Stale      bool // past NextUpdate
}

// Lists returns the state of the lists in use, by their issuers' names.
func (t *Trust) Lists(now time.Time) (status []ListStatus) {
	for _, list := range t.sorted() {
		status = append(status, ListStatus{
			Issuer: list.name, Number: new(big.Int).Set(list.number),
			ThisUpdate: list.thisUpdate, NextUpdate: list.nextUpdate,
			Revoked: len(list.serials), Stale: list.stale(now),
		})
	}
	return status
}
