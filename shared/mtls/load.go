package mtls

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// papers is one whole, checked set of files. It never changes.
type papers struct {
	digest     [sha256.Size]byte // of the files it was read from
	pair       tls.Certificate
	identity   Identity
	assumed    bool // the certificate names no identity
	cas        []*x509.Certificate
	lists      []*list
	configured bool   // CRLs are
	notice     string // about the key file
}

// contents is what the files hold, read but not yet believed.
type contents struct {
	cert, key, ca, crl []byte
	notice             string
}

// read reads all files; none of them is optional once it is configured.
func read(files Files) (c contents, err error) {
	if c.cert, err = readFile(files.Cert, maxFile); err != nil {
		return c, fmt.Errorf("certificate: %w", err)
	}
	if c.key, c.notice, err = readKeyFile(files.Key); err != nil {
		return c, fmt.Errorf("private key: %w", err)
	}
	if files.CA == "" { // nobody needs one under a shared certificate
		return c, nil
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

// parse reads the files' contents, or says which file is wrong and why.
func parse(files Files, c contents, o *Options) (*papers, error) {
	p := &papers{digest: c.digest(), notice: c.notice, configured: c.crl != nil}
	err := p.parsePair(files, c)
	if err != nil {
		return nil, err
	}
	if p.identity, err = o.self(p.pair.Leaf); err != nil {
		return nil, fmt.Errorf("certificate %s: %w", files.Cert, err)
	}
	_, named := IdentityOf(p.pair.Leaf)
	p.assumed = named != nil
	if o.Mode == Shared {
		return p, nil
	}
	if p.cas, err = parseCAs(c.ca); err != nil {
		return nil, fmt.Errorf("CA %s: %w", files.CA, err)
	}
	if p.configured {
		if p.lists, err = parseLists(c.crl); err != nil {
			return nil, fmt.Errorf("CRL %s: %w", files.CRL, err)
		}
	}
	return p, nil
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

func (p *papers) parsePair(files Files, c contents) error {
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
	if p.pair, err = tls.X509KeyPair(c.cert, encoded); err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", files.Cert, files.Key, err)
	}
	return nil
}
