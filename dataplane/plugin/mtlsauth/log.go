package mtlsauth

import (
	"context"
	"log/slog"
	"sync/atomic"

	"golang.org/x/time/rate"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

const (
	refusalsPerSecond = 20
	refusalsAtOnce    = 100
	maxText           = 500 // bytes of what was written by whoever showed the certificate
)

// refusals tells operators why certificates were refused, and never so often that clients could fill a disk.
type refusals struct {
	log    *slog.Logger
	limit  *rate.Limiter
	untold atomic.Int64
}

func (i *instance) refused(ex *exchange.Exchange, reason string) {
	r := i.kind.log
	if !r.limit.Allow() {
		r.untold.Add(1)
		return
	}
	leaf := ex.Request.TLS.PeerCertificates[0]
	r.log.Log(context.Background(), slog.LevelWarn, "a client certificate was refused",
		"plugin", name, "id", i.id, "request", string(append([]byte(nil), ex.ID()...)), "client", ex.Request.ClientAddr, "reason", cut(reason),
		"subject", cut(leaf.Subject.String()), "issuer", cut(leaf.Issuer.String()), "serial", cut(leaf.SerialNumber.Text(16)), "untold", r.untold.Swap(0))
}

func cut(text string) string { return text[:min(len(text), maxText)] }

// absent tells that an instance trusts less than it was meant to.
func (r *refusals) absent(id string, missing int) {
	r.log.Error("CA certificates of a plugin do not exist or cannot be used; who has a certificate of theirs is refused",
		"plugin", name, "id", id, "missing", missing)
}
