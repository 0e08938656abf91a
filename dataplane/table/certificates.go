package table

import (
	"crypto/tls"
	"strings"
)

// Certificates finds the certificates for a server name. It is immutable.
type Certificates struct{ names map[string][]*tls.Certificate }

// NewCertificates makes the table from names ("a.example", "*.example", "prefix.*", "*") to certificates, one or,
// with different key types, two each.
func NewCertificates(names map[string][]*tls.Certificate) *Certificates {
	c := &Certificates{names: make(map[string][]*tls.Certificate, len(names))}
	for name, certificates := range names {
		c.names[strings.TrimSuffix(strings.ToLower(name), ".")] = certificates
	}
	return c
}

// Lookup returns the certificates for a server name as Kong selects them: exact, then *.parent, then
// prefix.*, then *. Without any it returns nil and the listener's default serves.
func (c *Certificates) Lookup(name string) []*tls.Certificate {
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	if found := c.names[name]; found != nil && name != "*" {
		return found
	}
	if i := strings.IndexByte(name, '.'); i > 0 {
		if found := c.names["*"+name[i:]]; found != nil {
			return found
		}
		if found := c.names[name[:strings.LastIndexByte(name, '.')+1]+"*"]; found != nil {
			return found
		}
	}
	return c.names["*"]
}

// Certificate answers crypto/tls: the first certificate for the client's server name that the client can
// verify, or nil when the default has to serve.
func (c *Certificates) Certificate(hello *tls.ClientHelloInfo) *tls.Certificate {
	certificates := c.Lookup(hello.ServerName)
	for _, certificate := range certificates {
		if hello.SupportsCertificate(certificate) == nil {
			return certificate
		}
	}
	if len(certificates) > 0 {
		return certificates[0] // crypto/tls then says what the client lacks
	}
	return nil
}
