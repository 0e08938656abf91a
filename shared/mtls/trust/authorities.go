package trust

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"github.com/keepgate/keepgate/shared/mtls/identity"
)

// ParseCAs reads the certificates of CAs in PEM, each once.
func ParseCAs(data []byte) ([]*x509.Certificate, error) {
	var cas []*x509.Certificate
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		data = rest
		if block.Type == "X509 CRL" {
			return nil, errors.New("it holds a CRL where certificates are wanted")
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("it holds a %s beside certificates", identity.Quote(block.Type))
		}
		ca, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		if !ca.BasicConstraintsValid || !ca.IsCA {
			return nil, fmt.Errorf("%s is not a CA certificate", identity.Quote(ca.Subject.String()))
		}
		if !slices.ContainsFunc(cas, ca.Equal) {
			cas = append(cas, ca)
		}
	}
	if len(cas) == 0 {
		return nil, errors.New("there is no certificate in PEM form in it")
	}
	return cas, nil
}
