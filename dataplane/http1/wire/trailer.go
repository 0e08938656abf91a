package wire

import "github.com/keepgate/keepgate/dataplane/exchange"

// forbiddenTrailers must not come after the body: framing, routing, request modifiers, authentication, content
// (RFC 9110 §6.5.1). A receiver that merges trailers into the header would act on them unchecked.
var forbiddenTrailers = []string{
	"Authorization", "Cache-Control", "Connection", "Content-Encoding", "Content-Length", "Content-Range", "Content-Type", "Cookie",
	"Expect", "Forwarded", "Host", "Keep-Alive", "Location", "Max-Forwards", "Origin", "Proxy-Authenticate", "Proxy-Authorization",
	"Proxy-Connection", "Range", "Set-Cookie", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "Vary", "Via", "WWW-Authenticate", "apikey",
}

// forbiddenPrefixes are families of identity and forwarding fields that the gateway alone may set.
var forbiddenPrefixes = []string{
	"X-Consumer-", "X-Credential-", "X-Anonymous-", "X-Authenticated-", "X-Client-Cert-", "X-Forwarded-", "X-Real-", "X-Keepgate-", "X-Kong-",
}

// ForbiddenTrailer says whether a trailer of that name is dropped.
func ForbiddenTrailer(name string) bool {
	for _, f := range forbiddenTrailers {
		if exchange.EqualLoose(name, f) {
			return true
		}
	}
	for _, prefix := range forbiddenPrefixes {
		if len(name) >= len(prefix) && exchange.EqualLoose(name[:len(prefix)], prefix) {
			return true
		}
	}
	return false
}
