package certs

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/privatekey"
	"github.com/keepgate/keepgate/shared/secret"
)

// Roles of certificates for programs that know nothing of the cluster, as a PostgreSQL server and its clients. Nodes let nobody in by them.
const (
	Server identity.Role = "server"
	Client identity.Role = "client"
)

// Plain says that certificates of a role name nobody in the cluster.
func Plain(role identity.Role) bool { return role == Server || role == Client }

// Spec is what the operator decides about a certificate.
type Spec struct {
	Role        identity.Role // default data-plane
	Environment string        // of a data plane; default "default"
	Name        string
	DNS         []string      // control planes and servers only; with IPs also empty: localhost, 127.0.0.1 and ::1, or the server's name
	IPs         []net.IP      // control planes and servers only
	Valid       time.Duration // default a year; never beyond the CA's own end
}

// Issued is a new certificate.
type Issued struct {
	CertPEM  []byte
	KeyPEM   secret.Bytes // empty when the node made its own key
	Identity identity.Identity
	KeySHA   string   // SHA-256 of the public key, to compare with what the node shows
	Notices  []string // what the operator should know
}

// Issue makes a key and a certificate for it. The CA's side then knows what the node's local store is
// sealed with: right for a demo and for the control plane's own certificate, wrong for a data plane.
func (a *Authority) Issue(spec Spec) (Issued, error) {
	const op = "certs.Issue"
	key, keyPEM, err := privatekey.New()
	if err != nil {
		return Issued{}, fault.New(fault.Internal, op, "certificate/"+spec.Name, err)
	}
	issued, err := a.certify(op, key.Public(), spec, true)
	issued.KeyPEM = keyPEM
	return issued, err
}

// Sign certifies the key of a request. Of the request only the key is taken; the names in it are the
// requester's wishes.
func (a *Authority) Sign(request []byte, spec Spec) (Issued, error) {
	const op = "certs.Sign"
	csr, err := ParseRequest(request)
	if err != nil {
		return Issued{}, err
	}
	return a.certify(op, csr.PublicKey, spec, false)
}

func (a *Authority) certify(op string, public crypto.PublicKey, spec Spec, keyMadeHere bool) (Issued, error) {
	template, notices, err := a.template(&spec, time.Now())
	if err != nil {
		return Issued{}, fault.New(fault.Invalid, op, "certificate/"+spec.Name, err)
	}
	entry := Entry{Role: spec.Role, Environment: spec.Environment, Name: spec.Name, KeyMadeHere: keyMadeHere}
	return a.sign(op, public, template, entry, notices)
}

// sign signs a template for what the entry names. The entry is durable before the certificate is handed out.
func (a *Authority) sign(op string, public crypto.PublicKey, template *x509.Certificate, entry Entry, notices []string) (Issued, error) {
	now, subject := time.Now(), "certificate/"+entry.Name
	digest, err := KeySHA256(public)
	if err == nil {
		err = entry.validate(a.index.Organisation)
	}
	if err != nil {
		return Issued{}, fault.New(fault.Invalid, op, subject, err)
	}
	entry.Serial, entry.KeySHA256 = identity.SerialText(template.SerialNumber), digest
	entry.NotBefore, entry.NotAfter = template.NotBefore.Unix(), template.NotAfter.Unix()
	more, err := a.compare(entry, now)
	if err != nil {
		return Issued{}, fault.New(fault.Conflict, op, subject, err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
	if err != nil {
		return Issued{}, fault.New(fault.Internal, op, subject, fmt.Errorf("signing: %w", err))
	}
	above, err := a.above(entry.Role)
	if err != nil {
		return Issued{}, fault.New(fault.Corrupt, op, subject, err)
	}
	a.index.Certificates = append(a.index.Certificates, entry)
	if err := a.save(now); err != nil {
		return Issued{}, fault.New(fault.Internal, op, subject, err)
	}
	id := entry.identity(a.index.Organisation)
	id.Serial, id.NotAfter = entry.Serial, template.NotAfter
	return Issued{CertPEM: append(encode("CERTIFICATE", der), above...), Identity: id, KeySHA: digest, Notices: append(notices, more...)}, nil
}

// above is what the holder of a certificate shows with it: the CA, to those who know the root alone, and of control planes the word of
// the CA before, to those who know that one alone.
func (a *Authority) above(role identity.Role) (pemText []byte, err error) {
	if a.root != nil {
		pemText = encode("CERTIFICATE", a.cert.Raw)
	}
	path := filepath.Join(a.dir, crossFile)
	if role != identity.ControlPlane || !present(path) {
		return pemText, nil
	}
	chain, err := a.readCross(path)
	return append(pemText, chain...), err
}

// template fills spec's defaults in and makes the certificate of it.
func (a *Authority) template(spec *Spec, now time.Time) (*x509.Certificate, []string, error) {
	if spec.Role == "" {
		spec.Role = identity.DataPlane
	}
	if spec.Role == identity.DataPlane && spec.Environment == "" {
		spec.Environment = "default"
	}
	roles := []identity.Role{identity.ControlPlane, identity.DataPlane, identity.Admin, identity.KMS, Server, Client}
	if !slices.Contains(roles, spec.Role) {
		return nil, nil, fmt.Errorf("role %q is not one of %v", spec.Role, roles)
	}
	uris, err := a.uris(spec)
	if err != nil {
		return nil, nil, err
	}
	notices, err := spec.checkNames()
	if err != nil {
		return nil, nil, err
	}
	end, cut, err := a.end(spec.Valid, now)
	if err != nil {
		return nil, nil, err
	}
	usages := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	switch spec.Role {
	case identity.ControlPlane:
		usages = append(usages, x509.ExtKeyUsageServerAuth)
	case Server:
		usages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	return &x509.Certificate{
		SerialNumber: newSerial(),
		Subject:      pkix.Name{CommonName: spec.Name}, // PostgreSQL reads it; for nodes it is a note
		NotBefore:    now.Add(-backdated), NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: usages, BasicConstraintsValid: true,
		URIs: uris, DNSNames: spec.DNS, IPAddresses: spec.IPs,
	}, append(notices, cut...), nil
}

// uris names the holder in the cluster, where it has a name there.
func (a *Authority) uris(spec *Spec) ([]*url.URL, error) {
	entry := Entry{Role: spec.Role, Environment: spec.Environment, Name: spec.Name}
	if err := entry.validate(a.index.Organisation); err != nil {
		return nil, err
	}
	if Plain(spec.Role) {
		return nil, nil
	}
	uri, err := entry.identity(a.index.Organisation).URI()
	return []*url.URL{uri}, err
}

// Validate says what keeps spec from being issued, without issuing anything.
func (a *Authority) Validate(spec Spec) error {
	if _, _, err := a.template(&spec, time.Now()); err != nil {
		return fault.New(fault.Invalid, "certs.Validate", "certificate/"+spec.Name, err)
	}
	return nil
}

func (a *Authority) end(valid time.Duration, now time.Time) (time.Time, []string, error) {
	if valid == 0 {
		valid = leafValidity
	}
	if valid < 0 {
		return time.Time{}, nil, fmt.Errorf("a certificate cannot be valid for %v", valid)
	}
	if !now.Before(a.cert.NotAfter) {
		return time.Time{}, nil, fmt.Errorf("the CA itself expired %s", stamp(a.cert.NotAfter))
	}
	if end := now.Add(valid); end.Before(a.cert.NotAfter) {
		return end, nil, nil
	}
	return a.cert.NotAfter, []string{"valid only until the CA itself expires, " + stamp(a.cert.NotAfter)}, nil
}

func (s *Spec) checkNames() (notices []string, err error) {
	none := len(s.DNS)+len(s.IPs) == 0
	switch {
	case s.Role != identity.ControlPlane && s.Role != Server && !none:
		return nil, fmt.Errorf("role %s only dials: DNS names and addresses are for control planes and servers", s.Role)
	case s.Role != identity.ControlPlane && s.Role != Server:
		return nil, nil
	case none && s.Role == Server:
		if ip := net.ParseIP(s.Name); ip != nil {
			s.IPs = []net.IP{ip}
		} else {
			s.DNS = []string{s.Name}
		}
	case none:
		s.DNS, s.IPs = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
		notices = append(notices, "no DNS name and no address given: valid for localhost, 127.0.0.1 and ::1 only")
	}
	for _, name := range s.DNS {
		if err := checkDNSName(name); err != nil {
			return nil, err
		}
	}
	return notices, nil
}

func checkDNSName(name string) error {
	if net.ParseIP(name) != nil {
		return fmt.Errorf("%q is an address, not a DNS name", name)
	}
	if name == "" || len(name) > 253 {
		return fmt.Errorf("DNS name %q: 1 to 253 characters are allowed", name)
	}
	for label := range strings.SplitSeq(name, ".") {
		plain := !strings.ContainsFunc(label, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-'
		})
		if !plain || label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return fmt.Errorf("%q is not a DNS name (RFC 1123 §2.1), and wildcards are not issued", name)
		}
	}
	return nil
}

// compare looks at what was issued before: a key that was revoked, or that is another's, is not
// certified again.
func (a *Authority) compare(entry Entry, now time.Time) (notices []string, err error) {
	id := entry.identity(a.index.Organisation)
	for _, before := range slices.Backward(a.index.Certificates) {
		same := before.identity(a.index.Organisation) == id
		if before.KeySHA256 == entry.KeySHA256 {
			if before.RevokedAt != 0 {
				return nil, fmt.Errorf("this key was revoked with serial %s: the node needs a new one", before.Serial)
			}
			if !same {
				return nil, fmt.Errorf("this key is already that of %s, serial %s: every node needs its own", before.identity(a.index.Organisation), before.Serial)
			}
		}
		if same && before.State(now) == "valid" {
			notices = append(notices, fmt.Sprintf("serial %s of the same name stays valid until %s unless it is revoked", before.Serial, stamp(time.Unix(before.NotAfter, 0))))
		}
	}
	if digest, err := KeySHA256(a.cert.PublicKey); err != nil || digest == entry.KeySHA256 {
		return nil, errors.Join(errors.New("this is the CA's own key"), err)
	}
	return notices, nil
}

// KeySHA256 returns the SHA-256 of a public key (its SubjectPublicKeyInfo) in hex, for two people to compare.
func KeySHA256(public crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
