// Package papers looks at certificates, their keys and lists of revoked certificates in files, and says what to mend.
//
// What a node believes is decided elsewhere (shared/mtls, shared/serverchain); this tells the usual mistakes apart, so
// that a newcomer sees which file is wrong and how.
package papers

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/keepgate/keepgate/controlplane/doctor/finding"
)

const (
	expiresSoon = 14 * 24 * time.Hour
	maxFile     = 16 << 20
)

// Dates looks at when certificates are valid. renew is the command, or words, that makes new ones.
func Dates(what string, chain []*x509.Certificate, renew string) finding.Result {
	now := time.Now()
	first := chain[0].NotAfter
	for _, cert := range chain {
		switch name := Name(cert); {
		case now.Before(cert.NotBefore):
			return finding.Bad(fmt.Sprintf("%s: %s is valid from %s on, and here it is %s", what, name, Stamp(cert.NotBefore), Stamp(now)),
				"set the clock of this machine (timedatectl); if it is right, that of the machine that issued the certificate, and issue it anew")
		case now.After(cert.NotAfter):
			return finding.Bad(fmt.Sprintf("%s: %s expired %s, and here it is %s", what, name, Stamp(cert.NotAfter), Stamp(now)), "renew it: "+renew)
		}
		if cert.NotAfter.Before(first) {
			first = cert.NotAfter
		}
	}
	if first.Sub(now) < expiresSoon {
		return finding.Beware(what+": expires soon, "+Stamp(first), "renew it: "+renew)
	}
	return finding.Fine("valid until %s", Stamp(first))
}

// Certificates reads all certificates of a PEM file.
func Certificates(path string) (certs []*x509.Certificate, err error) {
	data, err := read(path)
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("there is no certificate in PEM form in %s", path)
	}
	return certs, nil
}

func read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s is no file of at most %d bytes", path, maxFile)
	}
	return os.ReadFile(path)
}

// Show names a chain, the own certificate first.
func Show(chain []*x509.Certificate) string {
	var names []string
	for _, cert := range chain {
		names = append(names, Name(cert))
	}
	text := strings.Join(names, " ← ")
	if last := chain[len(chain)-1]; last.Subject.String() != last.Issuer.String() {
		text += fmt.Sprintf(" (issued by %s)", Issuer(last))
	}
	return text
}

// Name is what a certificate says of its holder: quoted, since strangers write it.
func Name(cert *x509.Certificate) string {
	return named(cert.Subject.CommonName, cert.Subject.String())
}

// Issuer is what a certificate says of its authority.
func Issuer(cert *x509.Certificate) string {
	return named(cert.Issuer.CommonName, cert.Issuer.String())
}

func named(common, whole string) string {
	if common == "" {
		common = whole
	}
	return fmt.Sprintf("%.100q", common)
}

// Stamp writes a time as all of this project does.
func Stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Version is a TLS version and its cipher suite in words.
func Version(state tls.ConnectionState) string {
	return tls.VersionName(state.Version) + ", " + tls.CipherSuiteName(state.CipherSuite)
}

// Lists reads lists of revoked certificates: PEM, or one in DER.
func Lists(path string) (lists []*x509.RevocationList, err error) {
	data, err := read(path)
	if err != nil {
		return nil, err
	}
	const sequence = 0x30 // how any list in DER begins, and no PEM
	if len(data) > 0 && data[0] == sequence {
		list, err := x509.ParseRevocationList(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return []*x509.RevocationList{list}, nil
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "X509 CRL" {
			continue
		}
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		lists = append(lists, list)
	}
	if len(lists) == 0 {
		return nil, fmt.Errorf("there is no list of revoked certificates in %s", path)
	}
	return lists, nil
}
