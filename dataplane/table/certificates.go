package table

import "crypto/tls"

// Certificates finds the certificates for a server name. It is immutable.
type Certificates struct{ names byName[[]*tls.Certificate] }

// NewCertificates makes the table from names ("a.example", "*.example", "prefix.*", "*") to certificates, one or,
// with different key types, two each.
func NewCertificates(names map[string][]*tls.Certificate) *Certificates {
	return &Certificates{newByName(names)}
}

// Lookup returns the certificates for a server name as Kong selects them: exact, then *.parent, then
// prefix.*, then *. Without any it returns nil and the listener's default serves.
func (c *Certificates) Lookup(name string) []*tls.Certificate { return c.names.find(name) }

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
