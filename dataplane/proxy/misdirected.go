package proxy

import (
	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
)

// errMisdirected is RFC 9110 §15.5.20: the client may ask again over another connection.
var errMisdirected = &plugin.Refusal{Status: 421, Message: "Misdirected Request"}

// misdirected refuses a request for a host whose connections are made under another policy on clients' certificates than
// this one was: a handshake for one name proves nothing to another, nor does one from before a change of the configuration.
// It says whether it did. Where no certificate is asked for it costs two comparisons.
func misdirected(ex *exchange.Exchange, s *state) bool {
	request, handshakes := &ex.Request, s.table.Handshakes
	if request.TLS == nil || request.Handshake == "" && !handshakes.Asks() {
		return false
	}
	if handshakes.ForHost(request.Host).Key == request.Handshake {
		return false
	}
	plugin.Refuse(ex, errMisdirected)
	ex.Response.Close = true
	// An HTTP/2 connection still serves other hosts, unless its own has another policy by now: then it serves none.
	ex.Response.GoAway = handshakes.For(request.SNI()).Key != request.Handshake
	return true
}
