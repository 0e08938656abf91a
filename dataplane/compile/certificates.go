package compile

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/dataplane/kvm"
	"github.com/keepgate/keepgate/dataplane/table"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// parsedPair is a certificate entity, parsed.
type parsedPair struct {
	pairs []*tls.Certificate // one or, with different key types, two
	key   string             // equal for equal certificates
	uses  []use
}

// serverNames parses the certificates and binds them to their names.
func (r *run) serverNames() *table.Certificates {
	r.certificates = map[string]*parsedPair{}
	for _, e := range r.each("certificates") {
		parsed, err := r.parsePair(e)
		if err != nil {
			r.report("certificates", e.id, "", err.Error())
		}
		if parsed != nil {
			r.certificates[e.id] = parsed
		}
	}
	names := map[string][]*tls.Certificate{}
	for _, e := range r.each("snis") {
		sni := e.message.(*configv1.Sni)
		id := sni.GetCertificate().GetId()
		if parsed := r.certificates[id]; parsed != nil {
			names[sni.GetName()] = parsed.pairs
		} else if r.find("certificates", id) == nil {
			r.report("snis", e.id, sni.GetName(), "its certificate does not exist")
		}
	}
	return table.NewCertificates(names)
}

// parsePair parses a certificate entity once, and again when a reference of it leads to something else. A certificate and a
// key that are replaced one after the other do not fit for a moment: the pair before is returned meanwhile, beside the error.
func (r *run) parsePair(e *entity) (*parsedPair, error) {
	former, _ := e.parsed.(*parsedPair)
	if former != nil && r.asBefore(e.workspace, kvm.Place{}, former.uses) {
		return former, nil
	}
	e.parsed = nil
	m := e.message.(*configv1.Certificate)
	parsed, sum, look := &parsedPair{}, sha256.New(), lookups{run: r, workspace: e.workspace}
	texts := []string{m.GetCert(), m.GetKey(), m.GetCertAlt(), m.GetKeyAlt()}
	if err := look.all([4]string{"cert", "key", "cert_alt", "key_alt"}, texts); err != nil {
		return nil, err
	}
	for pair := range slices.Chunk(texts, 2) {
		if len(parsed.pairs) > 0 && pair[0] == "" && pair[1] == "" {
			continue
		}
		certificate, err := tls.X509KeyPair([]byte(pair[0]), []byte(pair[1]))
		if err != nil {
			if former != nil {
				e.parsed = former
			}
			return former, fmt.Errorf("certificate or key cannot be used: %w", plain(err))
		}
		parsed.pairs = append(parsed.pairs, &certificate)
		sum.Write([]byte(pair[0]))
	}
	parsed.key, parsed.uses = e.id+"/"+hex.EncodeToString(sum.Sum(nil)), look.uses
	e.parsed = parsed
	return parsed, nil
}

// plain keeps errors of crypto/tls from quoting what they read: they name block types and mismatches only,
// and this makes it a rule.
func plain(err error) error {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return errors.New(text[:min(len(text), 200)])
}

// authority returns a CA certificate, or nil when it does not exist or cannot be parsed.
func (r *run) authority(id string) *x509.Certificate {
	e := r.find("ca_certificates", id)
	if e == nil || e.message == nil {
		return nil
	}
	parsed, _ := e.parsed.(*x509.Certificate)
	return parsed
}

// parseAuthorities parses every CA certificate.
func (r *run) parseAuthorities() {
	for _, e := range r.each("ca_certificates") {
		if _, ok := e.parsed.(*x509.Certificate); ok {
			continue
		}
		block, _ := pem.Decode([]byte(e.message.(*configv1.CaCertificate).GetCert()))
		if block == nil || block.Type != "CERTIFICATE" {
			r.report("ca_certificates", e.id, "", "it is not a PEM certificate")
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			r.report("ca_certificates", e.id, "", "it cannot be parsed: "+plain(err).Error())
			continue
		}
		e.parsed = certificate
	}
}
