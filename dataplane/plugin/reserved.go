package plugin

import "github.com/keepgate/keepgate/dataplane/exchange"

// framing are the fields that a message's shape or way is read from. Engines write them from parsed state.
var framing = [...]string{
	"Host", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Upgrade", "Expect",
}

// Reserved says whether a request's header of that name is the gateway's own to write: it frames the message or says who the
// client is. A configuration that wants to write one is refused. "_" counts as "-", see [exchange.Header.DelLoose].
func Reserved(name string) bool { return Frames(name) || identifies(name, "") }

// Frames says whether a header of that name would speak of a message's shape.
func Frames(name string) bool {
	for _, field := range framing {
		if exchange.EqualLoose(name, field) {
			return true
		}
	}
	return false
}
