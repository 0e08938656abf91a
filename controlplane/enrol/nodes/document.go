package nodes

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/catalog"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/schema"
)

const (
	maxRevoked = 128 // certificates that a document remembers as revoked
	maxReason  = 256 // bytes
)

// Document is what is on record of one identity, frozen by testdata/document.golden.json. Times are Unix seconds.
type Document struct {
	Sequence     uint64        `json:"sequence"` // grows with every change
	Identity     string        `json:"identity"` // its URI
	Certificates []Certificate `json:"certificates,omitempty"`
	JoinedAt     int64         `json:"joined_at,omitempty"`
	Token        string        `json:"token,omitempty"` // id of the one that it joined with
	RenewedAt    int64         `json:"renewed_at,omitempty"`
	RevokedAt    int64         `json:"revoked_at,omitempty"`
	Reason       string        `json:"reason,omitempty"`
	Revoked      []Certificate `json:"revoked,omitempty"` // those that it had then
}

// Certificate is one that was issued, oldest first where there are several.
type Certificate struct {
	Serial   string `json:"serial"` // hex, as identity.SerialText writes it
	IssuedAt int64  `json:"issued_at"`
	NotAfter int64  `json:"not_after"`
	UsedAt   int64  `json:"used_at,omitempty"` // when it first linked
}

var errDocument = errors.New("what is on record of a data plane is not of its form")

// Encode writes the document.
func (d Document) Encode() (string, error) {
	text, err := json.Marshal(d)
	return string(text), err
}

// ParseDocument reads what Encode wrote and refuses what no data plane can have.
func ParseDocument(text string) (d Document, err error) {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if decoder.Decode(&d) != nil || decoder.InputOffset() != int64(len(text)) || d.Sequence == 0 || len(d.Reason) > maxReason {
		return Document{}, errDocument
	}
	if who, err := identity.Parse(d.Identity); err != nil || who.Role != identity.DataPlane {
		return Document{}, errDocument
	}
	for _, c := range slices.Concat(d.Certificates, d.Revoked) {
		if c.Serial == "" || c.IssuedAt < 0 || c.NotAfter <= 0 || c.UsedAt < 0 {
			return Document{}, errDocument
		}
	}
	if len(d.Revoked) > 0 && d.RevokedAt == 0 || d.RevokedAt < 0 || d.JoinedAt < 0 || d.RenewedAt < 0 {
		return Document{}, errDocument
	}
	return d, nil
}

// Of reads the document of a row. The name that it is found by stands in clear and has to be that of the sealed identity.
func Of(m proto.Message) (Document, error) {
	row, ok := m.(*configv1.Enrolment)
	if !ok {
		return Document{}, fault.New(fault.Internal, "nodes.Of", Table, errDocument)
	}
	d, err := ParseDocument(row.GetDocument())
	if err == nil && d.Key() != row.GetIdentity() {
		err = errors.New("the row of a data plane bears another name than was sealed in it")
	}
	if err != nil {
		return Document{}, fault.New(fault.Corrupt, "nodes.Of", Table+"/"+row.GetId(), err)
	}
	return d, nil
}

// Who is the identity; its serial is not filled in.
func (d Document) Who() identity.Identity {
	who, _ := identity.Parse(d.Identity) // looked at when it was read
	return who
}

// Key names the row.
func (d Document) Key() string {
	who := d.Who()
	return Key(who.Environment, who.Name)
}

// Living returns the certificates that were issued and are neither revoked nor expired.
func (d Document) Living(now time.Time) []Certificate {
	return slices.DeleteFunc(slices.Clone(d.Certificates), func(c Certificate) bool { return c.NotAfter <= now.Unix() })
}

// Find returns the certificate on record with a serial.
func (d Document) Find(serial string) (Certificate, bool) {
	i := slices.IndexFunc(d.Certificates, func(c Certificate) bool { return c.Serial == serial })
	if i < 0 {
		return Certificate{}, false
	}
	return d.Certificates[i], true
}

// Join puts a first certificate on record. Those that were there before go: one data plane has the name.
func (d Document) Join(identity identity.Identity, token string, issued Certificate) Document {
	d.Identity, d.Token, d.JoinedAt, d.RenewedAt = identity.String(), token, issued.IssuedAt, 0
	d.Certificates = []Certificate{issued}
	return d
}

// Renew puts another certificate on record beside the one that it was asked for with, which must be there. It counts
// until the new one is used; others that nobody used are forgotten.
func (d Document) Renew(with string, issued Certificate) (Document, error) {
	former, found := d.Find(with)
	if !found {
		return d, fmt.Errorf("certificate %s of %s is not on record", with, d.Identity)
	}
	d.Certificates, d.RenewedAt = []Certificate{former, issued}, issued.IssuedAt
	return d, nil
}

// use notes the first link of a certificate, after which older ones count no more.
func (d Document) use(serial string, now time.Time) Document {
	i := slices.IndexFunc(d.Certificates, func(c Certificate) bool { return c.Serial == serial })
	if i < 0 {
		return d
	}
	d.Certificates = slices.Clone(d.Certificates[i:])
	if d.Certificates[0].UsedAt == 0 {
		d.Certificates[0].UsedAt = now.Unix()
	}
	return d
}

// revoke shuts the identity out, with all certificates that it is known to have.
func (d Document) revoke(reason string, seen []Certificate, now time.Time) Document {
	revoked := slices.Clone(d.Revoked)
	for _, c := range slices.Concat(d.Certificates, seen) {
		if !slices.ContainsFunc(revoked, func(other Certificate) bool { return other.Serial == c.Serial }) {
			revoked = append(revoked, c)
		}
	}
	revoked = slices.DeleteFunc(revoked, func(c Certificate) bool { return c.NotAfter <= now.Unix() })
	d.Revoked, d.Certificates = revoked[max(0, len(revoked)-maxRevoked):], nil
	d.RevokedAt, d.Reason = max(now.Unix(), d.RevokedAt), reason
	return d
}

// later is when something was last done with the document.
func (d Document) later() int64 { return max(d.JoinedAt, d.RenewedAt, d.RevokedAt) }

// spent reports that nothing of it can matter any more: whatever was issued has expired, for longer than delay.
func (d Document) spent(now time.Time, delay time.Duration) bool {
	all := slices.Concat(d.Certificates, d.Revoked)
	if len(all) == 0 {
		return d.RevokedAt == 0 // what another authority issued may be valid for any time
	}
	return !slices.ContainsFunc(all, func(c Certificate) bool { return c.NotAfter+int64(delay/time.Second) > now.Unix() })
}

// Piece changes what is on record of an identity, in one transaction with whatever else its caller changes. The document
// that edit gets has no sequence when there is none yet.
func Piece(key string, edit func(present Document) (Document, error)) catalog.Piece {
	return catalog.Piece{At: catalog.Address{Table: Table, Key: key}, Edit: func(m proto.Message) (schema.Document, error) {
		var d Document
		if m != nil {
			var err error
			if d, err = Of(m); err != nil {
				return nil, err
			}
		}
		sequence := d.Sequence
		d, err := edit(d)
		if err != nil {
			return nil, err
		}
		d.Sequence = max(sequence, d.Sequence) + 1
		text, err := d.Encode()
		if err != nil {
			return nil, fault.New(fault.Internal, "nodes.Piece", Table, err)
		}
		return schema.Document{"identity": key, "document": text}, nil
	}}
}
