package app

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"slices"
	"sync/atomic"

	"github.com/keepgate/keepgate/shared/crl"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
)

// adminClients are the authorities whose certificates clients of the Admin API must show, and what they took back.
type adminClients struct {
	settings cpsettings.Admin
	current  atomic.Pointer[clientTrust] // nil: none is asked for
}

// clientTrust is whom to believe, read at one moment.
type clientTrust struct {
	authorities []*x509.Certificate
	pool        *x509.CertPool
	lists       []*x509.RevocationList // nil: nobody is asked
}

func newAdminClients(s cpsettings.Admin) (*adminClients, error) {
	c := &adminClients{settings: s}
	return c, c.Reload()
}

// Reload reads the authorities and their lists again. When they cannot be used, those in use stay.
func (c *adminClients) Reload() error {
	trust, err := clientAuthorities(c.settings)
	if err == nil {
		c.current.Store(trust)
	}
	return err
}

// clientAuthorities reads admin_ssl_client_ca and admin_ssl_client_crl; nil when they are empty.
func clientAuthorities(s cpsettings.Admin) (*clientTrust, error) {
	if s.SSLClientCA == "" {
		if s.SSLClientCRL != "" {
			return nil, fault.Newf(fault.Invalid, "app.Run", "admin_ssl_client_crl", "it needs admin_ssl_client_ca, whose lists these are")
		}
		return nil, nil
	}
	data, err := os.ReadFile(s.SSLClientCA)
	if err != nil {
		return nil, fault.New(fault.Invalid, "app.Run", "admin_ssl_client_ca", err)
	}
	trust := &clientTrust{pool: x509.NewCertPool()}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, fault.Newf(fault.Invalid, "app.Run", "admin_ssl_client_ca", "%s holds a %.40q beside certificates", s.SSLClientCA, block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fault.Newf(fault.Invalid, "app.Run", "admin_ssl_client_ca", "%s: %w", s.SSLClientCA, err)
		}
		trust.authorities = append(trust.authorities, cert)
		trust.pool.AddCert(cert)
	}
	if len(trust.authorities) == 0 {
		return nil, fault.Newf(fault.Invalid, "app.Run", "admin_ssl_client_ca", "%s holds no certificate", s.SSLClientCA)
	}
	if s.SSLClientCRL == "" {
		return trust, nil
	}
	if data, err = os.ReadFile(s.SSLClientCRL); err == nil {
		trust.lists, err = crl.Parse(data)
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "app.Run", "admin_ssl_client_crl", err)
	}
	return trust, nil
}

var errNoClientCertificate = errors.New("the Admin API asks for a client certificate (admin_ssl_client_ca)")

// Config adds to a server's configuration that clients show a certificate of the authorities in use at each handshake.
func (c *adminClients) Config(config *tls.Config) *tls.Config {
	if c.current.Load() == nil {
		return config
	}
	config.ClientAuth = tls.RequireAnyClientCert // and verified here, by the authorities of now
	config.VerifyConnection = c.Check
	return config
}

// Check holds the client of a connection to what is believed now.
func (c *adminClients) Check(state tls.ConnectionState) error {
	trust := c.current.Load()
	if trust == nil {
		return nil
	}
	if len(state.PeerCertificates) == 0 {
		return errNoClientCertificate
	}
	intermediates := x509.NewCertPool()
	for _, cert := range state.PeerCertificates[1:] {
		intermediates.AddCert(cert)
	}
	chains, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots: trust.pool, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil || trust.lists == nil {
		return err
	}
	// Every chain has to be good: one that ends at an intermediate authority says nothing about what the root has taken back.
	for _, chain := range chains {
		if err := crl.Check(trust.lists, "admin_ssl_client_crl", trust.whole(chain)); err != nil {
			return err
		}
	}
	return nil
}

// whole goes on from the authority that a chain ends with to those above it, as far as they are known.
func (t *clientTrust) whole(chain []*x509.Certificate) []*x509.Certificate {
	chain = slices.Clone(chain)
	for range t.authorities {
		last := chain[len(chain)-1]
		if bytes.Equal(last.RawIssuer, last.RawSubject) {
			break
		}
		i := slices.IndexFunc(t.authorities, func(above *x509.Certificate) bool { return last.CheckSignatureFrom(above) == nil })
		if i < 0 {
			break
		}
		chain = append(chain, t.authorities[i])
	}
	return chain
}
