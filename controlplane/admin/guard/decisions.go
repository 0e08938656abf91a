package guard

import (
	"context"
	"errors"
	"net/http"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/audit"
)

// Journal is where decisions are written; controlplane/audit says what each method promises.
type Journal interface {
	Record(ctx context.Context, action, subject string, detail ...string) error
	Refused(ctx context.Context, action, subject string, detail ...string)
}

// Actions of entries about who was let in.
const (
	ActionAllow = "access.allow"
	ActionDeny  = "access.deny"
)

// maxShown bounds what an entry repeats of a request, in bytes; all of it is escaped to ASCII.
const maxShown = 512

// Decisions writes who was admitted to do what, and who was refused. The zero value writes nothing.
type Decisions struct{ Journal Journal }

// Actor names the caller of a request.
func (g *Guard) Actor(r *http.Request) audit.Actor {
	actor := audit.Actor{Client: r.RemoteAddr, Via: "forwarded"}
	switch {
	case given(r) != "" && g.Privileged(r):
		actor.Via = "token"
	case isLocal(r):
		actor.Via = "loopback"
	}
	return actor
}

// Allow records that a request is admitted, before anything is done for it. When it fails nothing may be.
func (d Decisions) Allow(ctx context.Context, method, path, query string, more ...string) error {
	if d.Journal == nil {
		return nil
	}
	detail := []string{"method", method}
	if query != "" {
		detail = append(detail, "query", cut(query))
	}
	return d.Journal.Record(ctx, ActionAllow, cut(path), append(detail, more...)...)
}

// Deny notes that a request was refused, if that is what the error says.
func (d Decisions) Deny(ctx context.Context, method, path string, err error) {
	refusal, ok := errors.AsType[*rest.Refusal](err)
	if d.Journal == nil || !ok {
		return
	}
	switch refusal.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
	default:
		return
	}
	reason, _ := refusal.Body["message"].(string)
	d.Journal.Refused(ctx, ActionDeny, cut(path), "method", method, "reason", cut(reason))
}

func cut(text string) string {
	if len(text) <= maxShown {
		return text
	}
	return text[:maxShown] + "..."
}
