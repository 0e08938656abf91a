package certs

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

const indexVersion = 1

// index is issued.json; frozen by testdata/issued.golden.
type index struct {
	Version      int     `json:"version"`
	Organisation string  `json:"organisation"`
	CRLNumber    int64   `json:"crl_number"`
	Certificates []Entry `json:"certificates"`
}

// Entry is one certificate that the CA has issued. Times are Unix seconds.
type Entry struct {
	Serial      string        `json:"serial"`
	Role        identity.Role `json:"role"`
	Environment string        `json:"environment,omitempty"`
	Name        string        `json:"name"`
	NotBefore   int64         `json:"not_before"`
	NotAfter    int64         `json:"not_after"`
	KeySHA256   string        `json:"key_sha256"`    // of the SubjectPublicKeyInfo
	KeyMadeHere bool          `json:"key_made_here"` // by the CA, not by the node
	RevokedAt   int64         `json:"revoked_at,omitempty"`
}

func (e Entry) identity(organisation string) identity.Identity {
	return identity.Identity{Role: e.Role, Organisation: organisation, Environment: e.Environment, Name: e.Name}
}

// validate says what keeps an entry from being one of this CA's.
func (e Entry) validate(organisation string) error {
	id := e.identity(organisation)
	if !Plain(e.Role) && !AboveLeaves(e.Role) {
		return id.Validate()
	}
	if e.Environment != "" {
		return fmt.Errorf("role %s has no environment, but %q is given", e.Role, e.Environment)
	}
	id.Role = identity.Admin // whose names have the same form
	return id.Validate()
}

// State says in one word how the certificate stands.
func (e Entry) State(now time.Time) string {
	switch {
	case e.RevokedAt != 0:
		return "revoked"
	case now.Unix() > e.NotAfter:
		return "expired"
	}
	return "valid"
}

func readIndex(dir string) (index, error) {
	data, err := os.ReadFile(filepath.Join(dir, indexFile))
	if err != nil {
		return index{}, fmt.Errorf("without the list of issued certificates nothing is signed: %w", err)
	}
	x, err := parseIndex(data)
	if err != nil {
		return index{}, fmt.Errorf("%s: %w", filepath.Join(dir, indexFile), err)
	}
	return x, nil
}

func parseIndex(data []byte) (index, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	var x index
	if err := decoder.Decode(&x); err != nil {
		return index{}, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return index{}, errors.New("something follows the list")
	}
	if x.Version != indexVersion {
		return index{}, fmt.Errorf("version %d, this program reads version %d", x.Version, indexVersion)
	}
	if x.CRLNumber < 0 {
		return index{}, fmt.Errorf("CRL number %d", x.CRLNumber)
	}
	if err := (identity.Identity{Role: identity.Admin, Organisation: x.Organisation, Name: "probe"}).Validate(); err != nil {
		return index{}, err
	}
	seen := make(map[string]bool, len(x.Certificates))
	for i, entry := range x.Certificates {
		if err := entry.validate(x.Organisation); err != nil {
			return index{}, fmt.Errorf("certificate %d: %w", i+1, err)
		}
		if _, err := serialOf(entry.Serial); err != nil {
			return index{}, fmt.Errorf("certificate %d: %w", i+1, err)
		}
		if seen[entry.Serial] {
			return index{}, fmt.Errorf("certificate %d: serial %s stands there twice", i+1, entry.Serial)
		}
		seen[entry.Serial] = true
	}
	return x, nil
}

// serialOf reads a serial in the one form that identity.SerialText writes.
func serialOf(text string) (*big.Int, error) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) == 0 || len(raw) > 20 {
		return nil, fmt.Errorf("%q is not a serial number", text)
	}
	serial := new(big.Int).SetBytes(raw)
	if serial.Sign() == 0 || identity.SerialText(serial) != text {
		return nil, fmt.Errorf("%q is not a serial number as it is written here", text)
	}
	return serial, nil
}

func (x index) encode() ([]byte, error) {
	if x.Certificates == nil {
		x.Certificates = []Entry{}
	}
	data, err := json.MarshalIndent(x, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding the list of issued certificates: %w", err)
	}
	return append(data, '\n'), nil
}

// save writes the index and then the CRL. Should the second not happen, the next command makes up for it,
// with a higher number.
func (a *Authority) save(now time.Time) error {
	former, roots, err := a.readCRL()
	if err != nil {
		return err
	}
	if former != nil && former.Number.IsInt64() {
		a.index.CRLNumber = max(a.index.CRLNumber, former.Number.Int64())
	}
	a.index.CRLNumber++
	data, err := a.index.encode()
	if err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(a.dir, indexFile), 0o600, data); err != nil {
		return err
	}
	return a.writeCRL(former, roots, now)
}
