// Package reserved knows the headers of a request that no configuration may choose to write: those that frame a message, and those
// by which a gate tells an upstream who the client is. The control plane refuses them in a configuration, and gates keep to the same.
//
// It also knows what is no header's name at all, which either refuses in a configuration.
//
// "_" counts as "-" in names, since upstreams that make variables of headers cannot tell the two apart.
package reserved

// What tells an upstream who the client is, as Kong's plugins name it. Whatever begins with ConsumerPrefix does.
const (
	ConsumerPrefix      = "X-Consumer-"
	Credential          = "X-Credential-Identifier"
	Anonymous           = "X-Anonymous-Consumer"
	AuthenticatedGroups = "X-Authenticated-Groups"
	CertificateDN       = "X-Client-Cert-Dn"
	CertificateSAN      = "X-Client-Cert-San"
)

// Header says whether a header of that name is the gateway's own to write.
func Header(name string) bool { return Frames(name) || Identifies(name) }

// Frames says whether a header of that name would speak of a message's shape or way. Engines write these from parsed state.
func Frames(name string) bool {
	for _, one := range [...]string{
		"Host", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Upgrade", "Expect",
	} {
		if Same(name, one) {
			return true
		}
	}
	return false
}

// Identifies says whether an upstream may take a header of that name for the gateway's word on who the client is. It is asked of every
// header of every request.
func Identifies(name string) bool {
	if len(name) < len(ConsumerPrefix) || name[0]|0x20 != 'x' {
		return false
	}
	if Begins(name, ConsumerPrefix) {
		return true
	}
	for _, one := range [...]string{Credential, Anonymous, AuthenticatedGroups, CertificateDN, CertificateSAN} {
		if Same(name, one) {
			return true
		}
	}
	return false
}

// Same says whether two names are the same but for case and "_".
func Same(a, b string) bool { return len(a) == len(b) && Begins(a, b) }

// Begins says whether name begins with prefix, but for case and "_".
func Begins(name, prefix string) bool {
	if len(name) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		if plain[name[i]] != plain[prefix[i]] {
			return false
		}
	}
	return true
}

// Name says whether name is a token, as field names and methods must be.
func Name(name string) bool {
	for i := range len(name) {
		if !token[name[i]] {
			return false
		}
	}
	return name != ""
}

// token are the bytes of a token, RFC 9110 §5.6.2.
var token = func() (t [256]bool) {
	for i := range t {
		c := byte(i)
		t[i] = '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
	}
	for _, c := range []byte("!#$%&'*+-.^_`|~") {
		t[c] = true
	}
	return t
}()

// plain maps ASCII letters to lower case and "_" to "-", and leaves the rest.
var plain = func() (t [256]byte) {
	for i := range t {
		t[i] = byte(i)
		if 'A' <= i && i <= 'Z' {
			t[i] |= 0x20
		}
	}
	t['_'] = '-'
	return t
}()
