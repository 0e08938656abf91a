package mtlsauth

import (
	"crypto/x509"
	"encoding/pem"

	"github.com/keepgate/keepgate/dataplane/plugin"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

const (
	credentialTable = "mtls_auth_credentials"
	authorityTable  = "ca_certificates"
	consumerTable   = "consumers"
)

// subject is what a credential is found by. An empty authority stands for any.
type subject struct{ name, authority string }

type credential struct {
	id       string
	consumer *plugin.Consumer // nil: one whom nobody is recognised as
}

// Store finds credentials and CA certificates. It is read only once it is made.
type Store struct {
	credentials map[subject]credential
	authorities map[string]*x509.Certificate // by id

	claims []claim              // of credentials that cannot be decoded
	hidden [namings]hiddenNames // of consumers that are there, but for nobody
}

// Tables implements plugin.Keeper.
func (*Kind) Tables() []string { return []string{credentialTable, authorityTable, consumerTable} }

// Store implements plugin.Keeper. CA certificates that cannot be used are left out without a word: the compiler
// reports them, because upstreams are verified against them too.
func (*Kind) Store(entities plugin.Entities, consumers *plugin.Consumers, report func(table, id, name, reason string)) any {
	s := &Store{credentials: map[subject]credential{}, authorities: map[string]*x509.Certificate{}}
	for id, message := range entities(authorityTable) {
		block, _ := pem.Decode([]byte(message.(*configv1.CaCertificate).GetCert()))
		if block == nil || block.Type != "CERTIFICATE" {
			continue
		}
		if certificate, err := x509.ParseCertificate(block.Bytes); err == nil {
			s.authorities[id] = certificate
		}
	}
	for id, message := range entities(consumerTable) {
		if consumers.ByID(id) == nil {
			s.hide(message.(*configv1.Consumer), true, true)
		}
	}
	for id, message := range entities(credentialTable) {
		entity := message.(*configv1.MtlsAuthCredential)
		found := credential{id: id, consumer: consumers.ByID(entity.GetConsumer().GetId())}
		if found.consumer == nil { // it still keeps its name from meaning somebody else
			report(credentialTable, id, entity.GetSubjectName(), "its consumer does not exist")
		}
		if entity.GetSubjectName() == "" {
			report(credentialTable, id, "", "it has no subject name")
			continue
		}
		key := subject{entity.GetSubjectName(), entity.GetCaCertificate().GetId()}
		if _, taken := s.credentials[key]; taken { // the control plane keeps them unique
			report(credentialTable, id, entity.GetSubjectName(), "another credential has this subject name and authority")
			continue
		}
		s.credentials[key] = found
	}
	return s
}
