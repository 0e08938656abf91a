package enrol

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/secret"
)

const (
	recordVersion = 1
	maxFormer     = 2
	maxKept       = 64 << 20 // of one file
)

// record is what a node remembers of its enrolment beside the certificates.
type record struct {
	Version       int      `json:"version"`
	TrustSequence uint64   `json:"trust_sequence"`
	JoinedAt      int64    `json:"joined_at"`            // Unix seconds
	RenewedAt     int64    `json:"renewed_at,omitempty"` // Unix seconds; 0 before the first renewal
	FormerSerials []string `json:"former_serials,omitempty"`
}

// material is what a generation is made of.
type material struct {
	key      secret.Bytes // PEM
	cert, ca []byte       // PEM
	crl      []byte       // PEM; nil for none
	record   record
}

// add makes a generation, durable and not in use. The check sees it as connections would, and may refuse it; then
// nothing has changed.
func (f *Folder) add(m material, check func(*mtls.Source) error) (number int, err error) {
	numbers, err := f.generations()
	if err != nil {
		return 0, err
	}
	number = 1
	if len(numbers) > 0 {
		number = numbers[len(numbers)-1] + 1
	}
	dir := filepath.Join(f.dir, partPrefix+rand.Text())
	if err := f.on.Mkdir(dir, 0o700); err != nil {
		return 0, fault.New(fault.Unavailable, "enrol.add", dir, err)
	}
	if err := f.fill(dir, m, check); err != nil {
		return 0, errors.Join(err, f.destroyFolder(dir))
	}
	if err := f.on.Rename(dir, filepath.Join(f.dir, nameOf(number))); err != nil {
		return 0, fault.New(fault.Unavailable, "enrol.add", dir, err)
	}
	if err := f.on.SyncDir(f.dir); err != nil {
		return 0, fault.New(fault.Unavailable, "enrol.add", dir, err)
	}
	return number, nil
}

func (f *Folder) fill(dir string, m material, check func(*mtls.Source) error) (err error) {
	m.record.Version = recordVersion
	document, err := json.MarshalIndent(m.record, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding what is remembered: %w", err)
	}
	m.key.Reveal(func(data []byte) { err = f.write(filepath.Join(dir, keyName), 0o600, data) })
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{certName: m.cert, caName: m.ca, crlName: m.crl, recordName: append(document, '\n')} {
		if data == nil {
			continue
		}
		if err := f.write(filepath.Join(dir, name), 0o644, data); err != nil {
			return err
		}
	}
	source, err := open(dir, nil)
	if err != nil {
		return err
	}
	return check(source)
}

func (f *Folder) write(path string, mode fs.FileMode, data []byte) error {
	return durable.ReplaceOn(f.on, path, mode, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// held reads the generation in use.
func (f *Folder) held() (number int, m material, err error) {
	if number, err = f.current(); err != nil {
		return 0, m, err
	}
	if number == 0 {
		return 0, m, fault.Newf(fault.NotFound, "enrol.held", f.dir, "this node has not joined")
	}
	if m.record, err = f.recordOf(number); err != nil {
		return number, m, err
	}
	key, err := readBounded(f.path(number, keyName))
	if err != nil {
		return number, m, err
	}
	m.key = secret.Take(key)
	if m.cert, err = readBounded(f.path(number, certName)); err != nil {
		return number, m, err
	}
	if m.ca, err = readBounded(f.path(number, caName)); err != nil {
		return number, m, err
	}
	if m.crl, err = readBounded(f.path(number, crlName)); errors.Is(err, fs.ErrNotExist) {
		m.crl, err = nil, nil
	}
	return number, m, err
}

func (f *Folder) recordOf(number int) (r record, err error) {
	data, err := readBounded(f.path(number, recordName))
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(data, &r); err != nil || r.Version != recordVersion {
		return r, fault.Newf(fault.Corrupt, "enrol.record", f.path(number, recordName), "it is not of version %d: %v", recordVersion, err)
	}
	return r, nil
}

func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close() // opened for reading
	data, err := io.ReadAll(io.LimitReader(file, maxKept+1))
	if err == nil && len(data) > maxKept {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxKept)
	}
	return data, err
}

// encode writes certificates or lists as PEM; nothing at all is nil.
func encode(kind string, list [][]byte) []byte {
	var text bytes.Buffer
	for _, der := range list {
		_ = pem.Encode(&text, &pem.Block{Type: kind, Bytes: der}) // a buffer takes all
	}
	return text.Bytes()
}

// decodeAll is the inverse of encode.
func decodeAll(text []byte) (list [][]byte) {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return list
		}
		list, text = append(list, block.Bytes), rest
	}
}

// bundle is the authorities and lists of a generation as a control plane says them.
func (m material) bundle() *enrolv1.Trust {
	return &enrolv1.Trust{Sequence: m.record.TrustSequence, Authorities: decodeAll(m.ca), RevocationLists: decodeAll(m.crl)}
}

// believe puts a bundle in the place of what m believes.
func (m *material) believe(bundle *enrolv1.Trust) {
	m.ca, m.crl = encode("CERTIFICATE", bundle.GetAuthorities()), encode("X509 CRL", bundle.GetRevocationLists())
	m.record.TrustSequence = bundle.GetSequence()
}
