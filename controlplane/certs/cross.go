package certs

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"fmt"
	"path/filepath"
	"time"

	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

const crossNameLength = 16

// CreateAfter makes a CA in a folder that has none, of the organisation of another CA that it is to replace. The former one vouches for
// it, as an authority of control planes alone, so that a node which believes the former CA goes on believing control planes that have
// certificates of the new one.
//
// It has another name than the former one, which people would else take for it: its default ends with the day.
func CreateAfter(former *Authority, dir string, options Options) (*Authority, error) {
	day := time.Now().UTC().Format(time.DateOnly)
	options.Name, options.RootName = cmp.Or(options.Name, defaultName+" "+day), cmp.Or(options.RootName, defaultRootName+" "+day)
	for name, taken := range map[string]*x509.Certificate{options.Name: former.cert, options.RootName: former.root} {
		if taken != nil && taken.Subject.CommonName == name {
			return nil, fault.Newf(fault.Conflict, "certs.CreateAfter", dir, "the CA before has the name %q too: give this one another (--name, --root-name)", name)
		}
	}
	options.after = former
	return Create(dir, former.index.Organisation, options)
}

// vouch writes the former CA's word for this one. The former CA's list of what it has issued has it first.
func (a *Authority) vouch(former *Authority) error {
	digest, err := KeySHA256(a.cert.PublicKey)
	if err != nil {
		return err
	}
	now := time.Now()
	end := a.cert.NotAfter
	if former.cert.NotAfter.Before(end) {
		end = former.cert.NotAfter
	}
	if !now.Before(end) {
		return fmt.Errorf("the CA in %s expired %s", former.dir, stamp(former.cert.NotAfter))
	}
	if former.cert.MaxPathLenZero {
		return fmt.Errorf("the CA in %s may not make authorities below itself", former.dir)
	}
	template := &x509.Certificate{
		SerialNumber: newSerial(), RawSubject: a.cert.RawSubject, NotBefore: now.Add(-backdated), NotAfter: end,
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign, SubjectKeyId: a.cert.SubjectKeyId,
		PermittedDNSDomainsCritical: true, PermittedURIDomains: []string{string(identity.ControlPlane)},
	}
	issued, err := former.sign("certs.CreateAfter", a.cert.PublicKey, template, Entry{Role: Cross, Name: crossName(digest)}, nil)
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(a.dir, crossFile), 0o644, issued.CertPEM)
}

// crossName names the authority whose key has a digest.
func crossName(digest string) string { return "cross-" + digest[:crossNameLength] }

// readCross reads the former CA's word for this one.
func (a *Authority) readCross(path string) (pemText []byte, err error) {
	blocks, err := readBlocks(path)
	if err != nil {
		return nil, err
	}
	for i, block := range blocks {
		cert, err := parseCertificate(path, block)
		if err != nil {
			return nil, err
		}
		if i == 0 && (!bytes.Equal(cert.RawSubjectPublicKeyInfo, a.cert.RawSubjectPublicKeyInfo) || !bytes.Equal(cert.RawSubject, a.cert.RawSubject)) {
			return nil, fmt.Errorf("%s does not vouch for %s", path, caFile)
		}
		pemText = append(pemText, encode("CERTIFICATE", cert.Raw)...)
	}
	return pemText, nil
}

// crossOf reads the former CA's word for the one in a folder; nil where that follows none.
func crossOf(dir string) (*x509.Certificate, error) {
	path := filepath.Join(dir, crossFile)
	if !present(path) {
		return nil, nil
	}
	return ReadCertificate(path)
}
