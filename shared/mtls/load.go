package mtls

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/keepgate/keepgate/shared/mtls/privatekey"
	"github.com/keepgate/keepgate/shared/mtls/trust"
)

const (
	maxFile    = 1 << 20  // certificates
	maxCRLFile = 64 << 20 // about a million entries
)

// papers is one whole, checked set of files. It never changes.
type papers struct {
	digest [sha256.Size]byte // of the files it was read from
	own    trust.Own
	given  trust.Given
	notice string // about the key file
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
	if c.key, c.notice, err = privatekey.ReadPEM(files.Key); err != nil {
		return c, err
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
	p := &papers{digest: c.digest(), notice: c.notice}
	p.own = trust.Own{CertFile: files.Cert, KeyFile: files.Key}
	p.given = trust.Given{CAFile: files.CA, CRLFile: files.CRL, Listed: c.crl != nil}
	err := p.parsePair(files, c)
	if err != nil {
		return nil, err
	}
	if p.own.Identity, err = o.rules().Self(p.own.Pair.Leaf); err != nil {
		return nil, fmt.Errorf("certificate %s: %w", files.Cert, err)
	}
	if o.Mode == trust.Shared {
		return p, nil
	}
	if p.given.CAs, err = trust.ParseCAs(c.ca); err != nil {
		return nil, fmt.Errorf("CA %s: %w", files.CA, err)
	}
	if p.given.Listed {
		if p.given.Lists, err = trust.ParseLists(c.crl); err != nil {
			return nil, fmt.Errorf("CRL %s: %w", files.CRL, err)
		}
	}
	return p, nil
}

func (p *papers) parsePair(files Files, c contents) error {
	key, err := privatekey.Parse(c.key)
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
	if p.own.Pair, err = tls.X509KeyPair(c.cert, encoded); err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", files.Cert, files.Key, err)
	}
	return nil
}

// readFile reads at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // opened for reading
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return data, nil
}
