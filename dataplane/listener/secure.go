package listener

import (
	"crypto/tls"

	"github.com/keepgate/keepgate/dataplane/table"
	"github.com/keepgate/keepgate/shared/settings/values"
)

// tlsConfig is a socket's configuration for handshakes that ask for no certificate.
func (l *Listener) tlsConfig(spec values.Listener) *tls.Config {
	c := &tls.Config{
		MinVersion:     l.options.MinVersion,
		MaxVersion:     l.options.MaxVersion,
		CipherSuites:   l.options.CipherSuites,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: l.options.Certificate,
	}
	if spec.HTTP2 {
		c.NextProtos = []string{"h2", "http/1.1"}
	}
	l.tickets.under("", c, false)
	if l.options.Handshake != nil {
		asking := c.Clone()
		// Plugins judge what comes: they want to say so in an answer, and they do it for every request, so that a resumed
		// session proves no more than a new one.
		asking.ClientAuth = tls.RequestClientCert
		c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			policy := l.options.Handshake(hello.ServerName)
			if policy.Key == "" {
				return nil, nil
			}
			return l.under(policy, hello, asking), nil
		}
	}
	return c
}

// under makes the configuration of one handshake under a policy, and notes the policy on the connection.
func (l *Listener) under(policy *table.Handshake, hello *tls.ClientHelloInfo, asking *tls.Config) *tls.Config {
	if c, ok := hello.Conn.(*conn); ok {
		c.policy = policy.Key
	}
	own := asking.Clone()
	own.ClientCAs = policy.Authorities
	l.tickets.under(policy.Key, own, true)
	return own
}
