package certs

import (
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

// Selection names certificates to revoke: by serial, or by name, narrowed by role and environment.
type Selection struct {
	Serial      string // as people write it: any case, colons, leading zeros
	Name        string
	Role        identity.Role // "" means any
	Environment string        // "" means any
}

// Revoke revokes what is selected and writes the CRL. It returns what it revoked, which is nothing when all
// of it was revoked before; the CRL is written all the same.
func (a *Authority) Revoke(selection Selection) ([]Entry, error) {
	const op = "certs.Revoke"
	found, err := a.find(selection)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	var revoked []Entry
	for _, i := range found {
		entry := &a.index.Certificates[i]
		if entry.RevokedAt == 0 {
			entry.RevokedAt = now.Unix()
			revoked = append(revoked, *entry)
		}
	}
	if err := a.save(now); err != nil {
		return nil, fault.New(fault.Internal, op, a.dir, err)
	}
	return revoked, nil
}

// RevokeCertificate revokes a certificate that this CA has signed, even one that the index does not know.
func (a *Authority) RevokeCertificate(cert *x509.Certificate) ([]Entry, error) {
	const op = "certs.Revoke"
	serial := identity.SerialText(cert.SerialNumber)
	if err := cert.CheckSignatureFrom(a.cert); err != nil {
		return nil, fault.Newf(fault.Invalid, op, "certificate/"+serial, "it is not of this CA: %w", err)
	}
	revoked, err := a.Revoke(Selection{Serial: serial})
	if fault.KindOf(err) != fault.NotFound {
		return revoked, err
	}
	entry, err := entryOf(cert)
	if err == nil {
		err = entry.validate(a.index.Organisation)
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, op, "certificate/"+serial, err)
	}
	a.index.Certificates = append(a.index.Certificates, entry)
	return a.Revoke(Selection{Serial: serial})
}

// find returns the positions of what is selected. A name that stands for several identities is refused:
// revoking one node too many is an outage.
func (a *Authority) find(s Selection) (found []int, err error) {
	const op = "certs.Revoke"
	if (s.Serial == "") == (s.Name == "") {
		return nil, fault.New(fault.Invalid, op, a.dir, errors.New("either a serial or a name is needed"))
	}
	serial := ""
	if s.Serial != "" {
		if serial, err = normalise(s.Serial); err != nil {
			return nil, fault.New(fault.Invalid, op, "certificate", err)
		}
	}
	identities := make(map[identity.Identity]bool)
	for i, entry := range a.index.Certificates {
		if serial != "" && entry.Serial != serial || s.Name != "" && entry.Name != s.Name ||
			s.Role != "" && entry.Role != s.Role || s.Environment != "" && entry.Environment != s.Environment {
			continue
		}
		found = append(found, i)
		identities[entry.identity(a.index.Organisation)] = true
	}
	switch {
	case len(found) == 0 && serial != "":
		return nil, fault.Newf(fault.NotFound, op, "certificate/"+serial, "this CA's list has no such serial; the certificate's file can be revoked even so")
	case len(found) == 0:
		return nil, fault.Newf(fault.NotFound, op, "certificate/"+s.Name, "this CA has issued nothing to that name")
	case len(identities) > 1:
		return nil, fault.Newf(fault.Conflict, op, "certificate/"+s.Name, "the name stands for several: %s; give the role, the environment or the serial", listed(identities))
	}
	return found, nil
}

func normalise(text string) (string, error) {
	digits := strings.ReplaceAll(strings.ToLower(strings.TrimSpace(text)), ":", "")
	serial, ok := new(big.Int).SetString(strings.TrimPrefix(digits, "0x"), 16)
	if !ok || serial.Sign() <= 0 || serial.BitLen() > 160 || strings.ContainsAny(digits, "_+") {
		return "", fmt.Errorf("%q is not a serial number in hex", text)
	}
	return identity.SerialText(serial), nil
}
