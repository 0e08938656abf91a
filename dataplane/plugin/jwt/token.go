package jwt

import (
	"encoding/base64"
	"strings"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// maxToken bounds a token; heads of requests are bounded too.
const maxToken = 64 << 10

// token is a signed token, RFC 7515 §3.1, taken apart and not believed.
type token struct {
	algorithm string
	key       value  // what the credential is named by
	exp, nbf  value  // RFC 7519 §4.1
	signed    string // what the signature is over
	signature []byte
}

// encoding is base64url without padding and without a second spelling of the same bytes, RFC 7515 §2.
var encoding = base64.RawURLEncoding.Strict()

// parse takes a token apart. keyClaim is looked for among the claims, then in the header. what says what is wrong, in Kong's
// words; "" is a token.
func parse(ex *exchange.Exchange, given, keyClaim string, t *token) (what string) {
	if len(given) > maxToken {
		return "invalid JSON"
	}
	head, rest, ok := strings.Cut(given, ".")
	body, tail, also := strings.Cut(rest, ".")
	if !ok || !also || strings.IndexByte(tail, '.') >= 0 {
		return "invalid JSON"
	}
	t.signed = given[:len(head)+1+len(body)]
	var header, claims wanted
	alg, typ, crit := header.add("alg"), header.add("typ"), header.add("crit")
	headerKey := header.add(keyClaim)
	exp, nbf := claims.add("exp"), claims.add("nbf")
	claimsKey := claims.add(keyClaim)
	if !object(ex, head, &header) || !object(ex, body, &claims) {
		return "invalid JSON"
	}
	switch h := &header.values; {
	case h[typ].kind != absent && (h[typ].kind != text || !exchange.EqualFold(h[typ].text, "JWT")):
		return "invalid typ"
	case h[alg].kind != text || !known(h[alg].text):
		return "invalid alg"
	case h[crit].kind != absent:
		return "invalid crit" // extensions that must be understood, and none is: RFC 7515 §4.1.11
	}
	signature, ok := decode(ex, tail)
	if !ok || len(signature) == 0 {
		return "invalid signature"
	}
	t.algorithm, t.signature = header.values[alg].text, signature
	t.exp, t.nbf, t.key = claims.values[exp], claims.values[nbf], claims.values[claimsKey]
	if t.key.kind == absent || t.key.kind == null {
		t.key = header.values[headerKey]
	}
	return ""
}

func object(ex *exchange.Exchange, part string, w *wanted) bool {
	data, ok := decode(ex, part)
	return ok && scan(ex, exchange.View(data), w)
}

func decode(ex *exchange.Exchange, part string) ([]byte, bool) {
	data := ex.Bytes(encoding.DecodedLen(len(part)))
	if strings.ContainsAny(part, "\r\n") { // which the decoder would pass over
		return nil, false
	}
	n, err := encoding.Decode(data, []byte(part))
	return data[:n], err == nil
}
