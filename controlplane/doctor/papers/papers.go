// Package papers looks at certificates, their keys and lists of revoked certificates in files, and says what to mend.
//
// What a node believes is decided elsewhere (shared/mtls, shared/serverchain); this tells the usual mistakes apart, so
// that a newcomer sees which file is wrong and how.
package papers

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/keepgate/keepgate/controlplane/doctor/finding"
	"github.com/keepgate/keepgate/shared/mtls"
)

const (
	expiresSoon = 14 * 24 * time.Hour
	maxFile     = 16 << 20
)

// Pair is a certificate and its key, as settings name them.
type Pair struct {
	CertSetting, KeySetting string
	Cert, Key               string // their files
	Usages                  []x509.ExtKeyUsage
	Renew                   string // the command that makes a new one

	chain []*x509.Certificate // once read
}

// Chain is what the certificate's file holds, its own first; nil before the steps ran well.
func (p *Pair) Chain() []*x509.Certificate { return p.chain }

// Steps looks at the files, whether they belong together, what the certificate is for, and its dates.
func (p *Pair) Steps() []finding.Step {
	return []finding.Step{
		{Name: "certificate", Do: p.certificate},
		{Name: "key", Needs: []string{"certificate"}, Do: p.key},
		{Name: "usage", Needs: []string{"certificate"}, Do: p.usage},
		{Name: "dates", Needs: []string{"certificate"}, Do: p.dates},
	}
}

func (p *Pair) certificate(context.Context) finding.Result {
	if p.Cert == "" {
		return finding.Bad(p.KeySetting+" is set and "+p.CertSetting+" is not", "set "+p.CertSetting+" to the certificate of that key")
	}
	chain, err := Certificates(p.Cert)
	if err != nil {
		return finding.Bad(p.CertSetting+": "+err.Error(), "put a certificate in PEM form into "+p.Cert+", readable by this user, or mend "+p.CertSetting)
	}
	p.chain = chain
	return finding.Fine("%s", Show(chain))
}

func (p *Pair) key(context.Context) finding.Result {
	if p.Key == "" {
		return finding.Bad(p.CertSetting+" is set and "+p.KeySetting+" is not", "set "+p.KeySetting+" to the private key of "+p.Cert)
	}
	info, err := os.Stat(p.Key)
	if err != nil {
		return finding.Bad(p.KeySetting+": "+err.Error(), "put the private key of "+p.Cert+" there, or mend "+p.KeySetting)
	}
	key, err := mtls.ReadKey(p.Key)
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrPermission):
		return finding.Bad(p.KeySetting+": this user cannot read "+p.Key, "chown "+p.Key+" to the user that runs keepgate-cp")
	case strings.Contains(err.Error(), "open to others"):
		return finding.Bad(fmt.Sprintf("%s: others can read the private key %s (mode %04o)", p.KeySetting, p.Key, info.Mode().Perm()), "chmod 600 "+p.Key)
	default:
		return finding.Bad(p.KeySetting+": "+p.Key+" holds no private key that can be used", "put the private key of "+p.Cert+" there, in PEM form and without a passphrase")
	}
	belongs := func(cert *x509.Certificate) bool {
		public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
		return ok && public.Equal(cert.PublicKey)
	}
	if belongs(p.chain[0]) {
		return finding.Fine("%s is its key, mode %04o", p.Key, info.Mode().Perm())
	}
	if i := slices.IndexFunc(p.chain, belongs); i > 0 {
		return finding.Bad(fmt.Sprintf("%s: the certificate of this key is number %d in %s", p.KeySetting, i+1, p.Cert), "put that certificate first in "+p.Cert)
	}
	return finding.Bad(p.KeySetting+": "+p.Key+" is not the key of "+p.Cert,
		"set "+p.KeySetting+" to the key that "+p.Cert+" was made with, or have a certificate made for this key")
}

func (p *Pair) usage(context.Context) finding.Result {
	leaf := p.chain[0]
	if leaf.IsCA && leaf.BasicConstraintsValid && len(leaf.ExtKeyUsage) == 0 && len(p.chain) > 1 {
		return finding.Bad(p.CertSetting+": the first certificate of "+p.Cert+" is an authority's", "put the node's own certificate first in "+p.Cert)
	}
	if len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) == 0 || slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) {
		return finding.Fine("any")
	}
	for _, wanted := range p.Usages {
		if !slices.Contains(leaf.ExtKeyUsage, wanted) {
			return finding.Bad(fmt.Sprintf("%s: the certificate is not for %s (extended key usage)", p.CertSetting, usageName(wanted)),
				"issue one that is: "+p.Renew)
		}
	}
	var names []string
	for _, usage := range leaf.ExtKeyUsage {
		names = append(names, usageName(usage))
	}
	return finding.Fine("for %s", strings.Join(names, " and "))
}

func usageName(usage x509.ExtKeyUsage) string {
	switch usage {
	case x509.ExtKeyUsageClientAuth:
		return "clients"
	case x509.ExtKeyUsageServerAuth:
		return "servers"
	}
	return "something else"
}

func (p *Pair) dates(context.Context) finding.Result { return Dates(p.CertSetting, p.chain, p.Renew) }

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
