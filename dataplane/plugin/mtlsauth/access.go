package mtlsauth

import (
	"context"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
)

var (
	errNone   = &plugin.Refusal{Status: 401, Message: "No required TLS certificate was sent"}
	errFailed = &plugin.Refusal{Status: 401, Message: "TLS certificate failed verification"}
)

// What the upstream is told of a certificate that no consumer was looked up for.
const (
	headerDN  = "X-Client-Cert-Dn"
	headerSAN = "X-Client-Cert-San"
)

// Access implements plugin.Accesser.
func (i *instance) Access(ex *exchange.Exchange, on *plugin.Runtime) {
	plugin.Authenticate(ex, on, i.anonymous, "", func() *plugin.Refusal { return i.check(ex, on) })
}

func (i *instance) check(ex *exchange.Exchange, on *plugin.Runtime) *plugin.Refusal {
	if ex.Request.TLS == nil || len(ex.Request.TLS.PeerCertificates) == 0 {
		return errNone
	}
	store, _ := on.Store(i.store).(*Store)
	if store == nil {
		return errFailed
	}
	now := ex.Start
	if now.IsZero() {
		now = time.Now()
	}
	t, certificates := i.trustOf(store), ex.Request.TLS.PeerCertificates
	v, chain := t.known.find(certificates, now)
	if v == nil {
		v = i.judge(t, certificates, now)
		t.known.keep(certificates, chain, v, now)
		if v.refusal != "" {
			i.refused(ex, v.refusal)
		}
	}
	if v.refusal != "" {
		return errFailed
	}
	proven, refusal := i.notRevoked(ex, v, now)
	if refusal != nil {
		return refusal
	}
	return i.identify(ex, on, t, v, proven)
}

// notRevoked returns the first way to an anchor on which no certificate was taken back.
func (i *instance) notRevoked(ex *exchange.Exchange, v *verdict, now time.Time) (*way, *plugin.Refusal) {
	ctx := ex.Context
	if ctx == nil {
		ctx = context.Background()
	}
	var reason error
	for n := range v.ways {
		w := &v.ways[n]
		if w.revocation == nil {
			return w, nil
		}
		err := w.revocation.Check(ctx, i.mode, now)
		if err == nil {
			return w, nil
		}
		reason = err
	}
	i.refused(ex, reason.Error())
	return nil, errFailed
}

// identify says whose the certificate is.
func (i *instance) identify(ex *exchange.Exchange, on *plugin.Runtime, t *trust, v *verdict, w *way) *plugin.Refusal {
	if i.skipLookup {
		ex.Consumer = exchange.Consumer{CredentialID: v.fingerprint, CredentialKind: name, AuthenticatedGroups: w.groups}
		ex.Request.Header.Set(headerDN, w.names.dn)
		if w.names.sans != "" {
			ex.Request.Header.Set(headerSAN, w.names.sans)
		}
		return nil
	}
	found := i.find(on.Consumers, t, w)
	consumer, by := found.consumer, found.by
	if consumer == nil && !found.unsure && i.fallback != "" {
		consumer = on.Consumers.Named(i.fallback)
	}
	if consumer == nil {
		i.refused(ex, found.why())
		return errFailed
	}
	if by == "" {
		by = v.fingerprint
	}
	plugin.Identify(ex, consumer, plugin.Credential{ID: by, Kind: name, Identifier: by})
	return nil
}
