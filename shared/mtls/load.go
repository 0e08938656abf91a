package mtls

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"
)

const expiresSoon = 14 * 24 * time.Hour

// trust is one whole, checked set of files. It never changes, but for what it remembers of proofs.
type trust struct {
	digest   [sha256.Size]byte // of the files it was read from
	pair     tls.Certificate
	identity Identity
	cas      []*x509.Certificate
	roots    *x509.CertPool
	lists    map[issuer]*revocations // nil: no CRL is configured
	fallen   map[issuer]time.Time    // CAs that another CA of the file revoked
	notice   string                  // about the key file
	changed  chan struct{}           // closed when another set takes over
	believed believed                // chains of proofs that this set was asked about
}

// contents is what the files hold, read but not yet believed.
type contents struct {
	cert, key, ca, crl []byte
	notice             string
}

// read reads all files; none of them is optional once it is configured.
func read(files Files) (c contents, err error) {
	if files.Cert == "" || files.Key == "" || files.CA == "" {
		return c, errors.New("a certificate, its key and the CA are all needed")
	}
	if c.cert, err = readFile(files.Cert, maxFile); err != nil {
		return c, fmt.Errorf("certificate: %w", err)
	}
	if c.key, c.notice, err = readKeyFile(files.Key); err != nil {
		return c, fmt.Errorf("private key: %w", err)
	}
	if c.ca, err = readFile(files.CA, maxFile); err != nil {
		return c, fmt.Errorf("CA: %w", err)
	}
	if files.CRL == "" {
		return c, nil
	}
	c.crl, err = readFile(files.CRL, maxCRLFile)
	if files.CRLIfThere && errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("CRL: %w", err)
	}
	return c, nil
}

func (c contents) digest() [sha256.Size]byte {
	h := sha256.New()
	for _, part := range [][]byte{c.cert, c.key, c.ca, c.crl, []byte(c.notice)} {
		_ = binary.Write(h, binary.BigEndian, uint64(len(part))) // a hash never fails
		h.Write(part)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// parse makes a trust of the files' contents, or says which file is wrong and why.
func parse(files Files, c contents, now time.Time) (*trust, error) {
	t := &trust{digest: c.digest(), notice: c.notice, changed: make(chan struct{})}
	var err error
	if t.cas, err = parseCAs(c.ca); err != nil {
		return nil, fmt.Errorf("CA %s: %w", files.CA, err)
	}
	t.roots = x509.NewCertPool()
	for _, ca := range t.cas {
		t.roots.AddCert(ca)
	}
	if err := t.parsePair(files, c); err != nil {
		return nil, err
	}
	if c.crl != nil {
		if t.lists, err = parseCRLs(c.crl, t.cas); err != nil {
			return nil, fmt.Errorf("CRL %s: %w", files.CRL, err)
		}
		t.fallen = fallenCAs(t.cas, t.lists)
	}
	if err := t.checkOwnChain(now); err != nil {
		return nil, fmt.Errorf("certificate %s with CA %s: %w", files.Cert, files.CA, err)
	}
	if t.identity, err = IdentityOf(t.pair.Leaf); err != nil {
		return nil, fmt.Errorf("certificate %s: %w", files.Cert, err)
	}
	return t, nil
}

func parseCAs(data []byte) ([]*x509.Certificate, error) {
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
			return nil, fmt.Errorf("it holds a %s beside certificates", shown(block.Type))
		}
		ca, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		if !ca.BasicConstraintsValid || !ca.IsCA {
			return nil, fmt.Errorf("%s is not a CA certificate", shown(ca.Subject.String()))
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

func (t *trust) parsePair(files Files, c contents) error {
	key, err := parseKey(c.key)
	if err != nil {
		return fmt.Errorf("private key %s: %w", files.Key, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("private key %s: %w", files.Key, err)
	}
	defer clear(der)
	encoded := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	defer clear(encoded)
	if t.pair, err = tls.X509KeyPair(c.cert, encoded); err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", files.Cert, files.Key, err)
	}
	return nil
}

// checkOwnChain asks whether the certificate is the CA's. Whether it has expired is for the others to
// refuse: a node whose certificate ran out must still start and serve what it has, so it only warns.
func (t *trust) checkOwnChain(now time.Time) error {
	intermediates := x509.NewCertPool()
	for _, der := range t.pair.Certificate[1:] {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("intermediate certificate: %w", err)
		}
		intermediates.AddCert(cert)
	}
	options := x509.VerifyOptions{
		Roots: t.roots, Intermediates: intermediates,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, CurrentTime: now,
	}
	_, err := t.pair.Leaf.Verify(options)
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired {
		options.CurrentTime = t.pair.Leaf.NotBefore
		_, err = t.pair.Leaf.Verify(options)
	}
	if err != nil {
		return chainRefusal(t.pair.Leaf, err, now)
	}
	return nil
}

// notices lists what is not an error but should be mended. The texts do not change from one second to the
// next, so that each is logged once.
func (t *trust) notices(files Files, now time.Time) []string {
	var notices []string
	say := func(format string, args ...any) { notices = append(notices, fmt.Sprintf(format, args...)) }
	if t.notice != "" {
		say("%s", t.notice)
	}
	leaf := t.pair.Leaf
	switch {
	case now.After(leaf.NotAfter):
		say("certificate %s expired %s: every peer will refuse it", files.Cert, stamp(leaf.NotAfter))
	case now.Before(leaf.NotBefore):
		say("certificate %s is valid from %s on: compare the clocks", files.Cert, stamp(leaf.NotBefore))
	case leaf.NotAfter.Sub(now) < expiresSoon:
		say("certificate %s expires soon, %s", files.Cert, stamp(leaf.NotAfter))
	}
	for _, ca := range t.cas {
		if now.After(ca.NotAfter) {
			say("CA %s in %s expired %s", shown(ca.Subject.String()), files.CA, stamp(ca.NotAfter))
		}
	}
	if t.lists == nil {
		say("no CRL is configured: revoked certificates are not noticed")
	}
	for _, list := range t.sorted() {
		if list.stale(now) {
			say("CRL %s by %s should have been replaced by %s: it is still used", files.CRL, shown(list.name), stamp(list.nextUpdate))
		}
		if _, revoked := list.serials[t.identity.Serial]; revoked && bytes.Equal(leaf.RawIssuer, list.rawIssuer) {
			say("certificate %s is itself revoked: every peer will refuse it", files.Cert)
		}
	}
	return notices
}
