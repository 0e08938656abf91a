// Package identity says who the holder of a cluster certificate is.
//
// Who a peer is (role, organisation, environment, name) stands in one URI SAN of its certificate and comes from nowhere
// else:
//
//	keepgate://<role>/<organisation>/<environment>/<name>
//
//	role          control-plane | data-plane | admin | kms
//	organisation  label
//	environment   label for a data-plane, "-" for every other role
//	name          label
//	label         1 to 63 of A-Z a-z 0-9 - . _ ~ (RFC 3986 §2.3), the first a letter or digit
//
// There is one spelling of an identity: no percent-encoding, no port, query or fragment, exactly one such
// URI in a certificate. Labels are compared byte by byte.
//
// It reads and proves nothing: whose certificates are believed is shared/mtls/trust's to say.
package identity

import (
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"time"
)

const (
	scheme        = "keepgate"
	noEnvironment = "-" // stands where a role has no environment
	maxLabel      = 63
)

// Role is what a certificate's holder may be in the cluster.
type Role string

const (
	ControlPlane Role = "control-plane"
	DataPlane    Role = "data-plane"
	Admin        Role = "admin"
	KMS          Role = "kms"
)

// Roles lists every role.
func Roles() []Role { return []Role{ControlPlane, DataPlane, Admin, KMS} }

func (r Role) known() bool {
	return r == ControlPlane || r == DataPlane || r == Admin || r == KMS
}

// Identity is who a certificate says its holder is. Nothing of it comes from anywhere else.
type Identity struct {
	Role         Role
	Organisation string
	Environment  string // of a data plane; empty for every other role
	Name         string
	Serial       string    // hex, lower case, an even number of digits; empty before issue
	NotAfter     time.Time // zero before issue
}

// ErrNone says that a certificate names no identity at all.
var ErrNone = errors.New("the certificate has no keepgate:// URI SAN")

var errTwo = errors.New("the certificate has more than one keepgate:// URI SAN")

// Validate says what keeps the identity from being written as a URI.
func (id Identity) Validate() error {
	if !id.Role.known() {
		return fmt.Errorf("role %q is not one of control-plane, data-plane, admin, kms", id.Role)
	}
	if err := CheckLabel("organisation", id.Organisation); err != nil {
		return err
	}
	if err := CheckLabel("name", id.Name); err != nil {
		return err
	}
	if id.Role != DataPlane {
		if id.Environment != "" {
			return fmt.Errorf("role %s has no environment, but %q is given", id.Role, id.Environment)
		}
		return nil
	}
	return CheckLabel("environment", id.Environment)
}

// String returns the canonical URI of a valid identity; the package doc has its grammar.
func (id Identity) String() string {
	environment := id.Environment
	if environment == "" {
		environment = noEnvironment
	}
	return scheme + "://" + string(id.Role) + "/" + id.Organisation + "/" + environment + "/" + id.Name
}

// URI returns the identity as the URI SAN of a certificate.
func (id Identity) URI() (*url.URL, error) {
	if err := id.Validate(); err != nil {
		return nil, err
	}
	return url.Parse(id.String())
}

// Parse reads the canonical form and no other: what it accepts, String gives back unchanged.
func Parse(text string) (Identity, error) {
	rest, ok := strings.CutPrefix(text, scheme+"://")
	if !ok {
		return Identity{}, fmt.Errorf("identity %s does not begin with %s://", Quote(text), scheme)
	}
	parts := strings.Split(rest, "/")
	if len(parts) != 4 {
		return Identity{}, fmt.Errorf("identity %s is not keepgate://<role>/<organisation>/<environment>/<name>", Quote(text))
	}
	id := Identity{Role: Role(parts[0]), Organisation: parts[1], Environment: parts[2], Name: parts[3]}
	if id.Role != DataPlane && id.Role.known() {
		if id.Environment != noEnvironment {
			return Identity{}, fmt.Errorf("identity %s: role %s has %q in the place of an environment", Quote(text), id.Role, noEnvironment)
		}
		id.Environment = ""
	}
	if err := id.Validate(); err != nil {
		return Identity{}, fmt.Errorf("identity %s: %w", Quote(text), err)
	}
	return id, nil
}

// Of reads the identity in a certificate. It proves nothing: the caller has verified the chain.
func Of(cert *x509.Certificate) (Identity, error) {
	var found *url.URL
	for _, uri := range cert.URIs {
		if uri.Scheme != scheme {
			continue
		}
		if found != nil {
			return Identity{}, errTwo
		}
		found = uri
	}
	if found == nil {
		return Identity{}, ErrNone
	}
	id, err := Parse(found.String())
	if err != nil {
		return Identity{}, err
	}
	id.Serial, id.NotAfter = SerialText(cert.SerialNumber), cert.NotAfter
	return id, nil
}

// SerialText writes a serial number as this project shows it everywhere.
func SerialText(serial *big.Int) string {
	if serial == nil || serial.Sign() <= 0 {
		return "00"
	}
	return hex.EncodeToString(serial.Bytes())
}

// CheckLabel accepts RFC 3986 §2.3 unreserved characters only, so that no two spellings of a URI mean the
// same, and a letter or digit first, so that a label is neither ".", ".." nor an option.
func CheckLabel(what, label string) error {
	if label == "" {
		return fmt.Errorf("%s is empty", what)
	}
	if len(label) > maxLabel {
		return fmt.Errorf("%s is longer than %d characters", what, maxLabel)
	}
	for i := range len(label) {
		c := label[i]
		alphanumeric := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if alphanumeric || i > 0 && strings.IndexByte("-._~", c) >= 0 {
			continue
		}
		return fmt.Errorf("%s %q: only letters, digits and -._~ are allowed, the first a letter or digit", what, label)
	}
	return nil
}

// Quote quotes what a stranger wrote, so that it can stand in a log line.
func Quote(text string) string {
	const most = 200
	if len(text) > most {
		return fmt.Sprintf("%q…", text[:most])
	}
	return fmt.Sprintf("%q", text)
}
