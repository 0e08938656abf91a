package proxy

import (
	"context"
	"log/slog"
	"strings"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
)

// What is answered to requests that the engine refused, in the words of Kong's nginx.
var (
	errNotAllowed  = &plugin.Refusal{Status: 405, Message: "Method not allowed"}
	errLength      = &plugin.Refusal{Status: 411, Message: "Length required"}
	errURITooLong  = &plugin.Refusal{Status: 414, Message: "URI too long"}
	errExpectation = &plugin.Refusal{Status: 417, Message: "Expectation failed"}
	errHeadTooLong = &plugin.Refusal{Status: 431, Message: "Request header or cookie too large"}
	errNotServed   = &plugin.Refusal{Status: 501, Message: "Not implemented"}
	errVersion     = &plugin.Refusal{Status: 505, Message: "HTTP version not supported"}
)

func malformed(status int) *plugin.Refusal {
	for _, r := range [...]*plugin.Refusal{
		errSlowBody, errTooLarge, errNotAllowed, errLength, errURITooLong, errExpectation, errHeadTooLong, errNotServed, errVersion,
	} {
		if r.Status == status {
			return r
		}
	}
	return errBadRequest
}

// Refuse implements [exchange.Refuser]. The client learns what kind of mistake it made; the operator, with debug
// logs, which one.
func (p *Proxy) Refuse(ex *exchange.Exchange, status int, reason string) {
	s := p.states.Get().(*state)
	s.table = p.tables.Current()
	ex.NeedSlots(slots(s.table))
	ex.SetSlot(plugin.ProxySlot, s)
	plugin.Refuse(ex, malformed(status))
	p.finishResponse(ex, s)
	if p.options.Errors.Enabled(context.Background(), slog.LevelDebug) {
		p.options.Errors.Debug("refused a malformed request", "client", ex.Request.ClientAddr, "reason", reason, "request_id", strings.Clone(ex.ID()))
	}
}
