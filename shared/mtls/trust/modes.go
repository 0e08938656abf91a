package trust

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

// Mode is whom a node believes.
type Mode string

const (
	// PKI believes certificates of the authorities that name an identity.
	PKI Mode = "pki"
	// CheckCN is PKI that asks for a permitted common name of every data plane too. A certificate without an identity
	// may then do: on this side that of a data plane by its common name, on the other that of the control plane by
	// its server name.
	CheckCN Mode = "pki_check_cn"
	// Shared believes the very same certificate, which all nodes have. Nothing can be revoked, and who has it is
	// everybody.
	Shared Mode = "shared"
)

// Rules are what an operator has chosen of how to believe.
type Rules struct {
	Mode        Mode
	Role        identity.Role // who this side is; needed in other modes than [PKI], where its certificate may not say so
	CommonNames []string      // with [CheckCN]: those of data planes; none: the parent domain of the own one
	CrossSigned bool          // a peer may be of a CA that a believed one has signed and of which there is no CRL yet
}

// SharedName is the server name under [Shared], and the common name of its certificate.
const SharedName = "kong_clustering"

// Who a certificate without an identity is, beside its name.
const (
	defaultOrganisation = "default"
	defaultEnvironment  = "default"
)

// Self is who this side is by its own certificate.
func (o *Rules) Self(leaf *x509.Certificate) (identity.Identity, error) {
	if o.Mode == Shared {
		if !named(leaf, SharedName) {
			return identity.Identity{}, fmt.Errorf("it is of %s; mode shared needs one of the name %s, as keepgate-cp hybrid gen_cert makes it",
				identity.Quote(leaf.Subject.String()), SharedName)
		}
		return o.assumed(leaf, o.Role, defaultOrganisation, SharedName), nil
	}
	id, err := identity.Of(leaf)
	if o.Mode == CheckCN && errors.Is(err, identity.ErrNone) {
		id = o.assumed(leaf, o.Role, defaultOrganisation, leaf.Subject.CommonName)
		err = id.Validate()
	}
	if err != nil {
		return identity.Identity{}, err
	}
	if o.Mode == CheckCN && o.Role == identity.ControlPlane && len(o.CommonNames) == 0 && parentDomain(leaf.Subject.CommonName) == "" {
		return identity.Identity{}, fmt.Errorf("its common name %s has no parent domain that those of data planes could share: name theirs in cluster_allowed_common_names",
			identity.Quote(leaf.Subject.CommonName))
	}
	return id, nil
}

// otherSide is the role of a peer whose certificate does not say.
func (o *Rules) otherSide(d Demand) identity.Role {
	if o.Role == identity.DataPlane || slices.Equal(d.Roles, []identity.Role{identity.ControlPlane}) {
		return identity.ControlPlane
	}
	return identity.DataPlane
}

// assumed is the identity of a certificate that names none.
func (o *Rules) assumed(leaf *x509.Certificate, role identity.Role, organisation, name string) identity.Identity {
	id := identity.Identity{Role: role, Organisation: organisation, Name: name, Serial: identity.SerialText(leaf.SerialNumber), NotAfter: leaf.NotAfter}
	if role == identity.DataPlane {
		id.Environment = defaultEnvironment
	}
	return id
}

func named(leaf *x509.Certificate, name string) bool {
	return leaf.Subject.CommonName == name || slices.Contains(leaf.DNSNames, name)
}

// parentDomain is what follows the first label, "" for a name of one.
func parentDomain(name string) string {
	_, parent, _ := strings.Cut(name, ".")
	return strings.ToLower(parent)
}

// identify says who the holder of a verified certificate is, and whether it may be here.
func (t *Trust) identify(leaf *x509.Certificate, d Demand) (identity.Identity, error) {
	id, err := verdict.IdentityOf(leaf)
	refusal, _ := errors.AsType[*verdict.Refusal](err)
	if refusal != nil && refusal.Reason == verdict.NoIdentity && t.rules.Mode == CheckCN {
		id, err = t.assume(leaf, d)
	}
	if err != nil {
		return identity.Identity{}, err
	}
	if !slices.Contains(d.Roles, id.Role) {
		return identity.Identity{}, verdict.Refuse(verdict.WrongRole, leaf, "role %s, but only %s may be here", id.Role, d.Roles)
	}
	if t.rules.Mode == CheckCN && id.Role == identity.DataPlane {
		if err := t.CheckCommonName(leaf.Subject.CommonName); err != nil {
			return identity.Identity{}, verdict.Refuse(verdict.WrongCommonName, leaf, "%v", err)
		}
	}
	return id, nil
}

// assume is for a certificate that names no identity under CheckCN.
func (t *Trust) assume(leaf *x509.Certificate, d Demand) (identity.Identity, error) {
	role := t.rules.otherSide(d)
	if role == identity.ControlPlane && d.ServerName == "" && !d.Linked {
		return identity.Identity{}, verdict.Refuse(verdict.NoIdentity, leaf, "%v, and no server name is asked of it", identity.ErrNone)
	}
	id := t.rules.assumed(leaf, role, t.own.Identity.Organisation, leaf.Subject.CommonName)
	err := id.Validate()
	if err != nil && role == identity.ControlPlane { // what it is called is told to people alone
		id.Name = string(identity.ControlPlane)
		err = id.Validate()
	}
	if err != nil {
		return identity.Identity{}, verdict.Refuse(verdict.NoIdentity, leaf, "%v, and its common name cannot be a node's: %v", identity.ErrNone, err)
	}
	return id, nil
}

// CheckCommonName asks whether a data plane of this common name may link, under [CheckCN].
func (t *Trust) CheckCommonName(name string) error {
	if len(t.rules.CommonNames) > 0 {
		if !slices.ContainsFunc(t.rules.CommonNames, func(allowed string) bool { return strings.EqualFold(allowed, name) }) {
			return fmt.Errorf("common name %s is not in cluster_allowed_common_names", identity.Quote(name))
		}
		return nil
	}
	if own := parentDomain(t.own.Pair.Leaf.Subject.CommonName); own == "" || parentDomain(name) != own {
		return fmt.Errorf("common name %s is not below %s, the parent domain of the control plane's certificate; cluster_allowed_common_names can name it",
			identity.Quote(name), identity.Quote(own))
	}
	return nil
}

// verifyShared is the policy of Shared: the very same certificate, and in time.
func (t *Trust) verifyShared(leaf *x509.Certificate, d Demand, now time.Time) (identity.Identity, error) {
	role := t.rules.otherSide(d)
	if !bytes.Equal(leaf.Raw, t.own.Pair.Leaf.Raw) { // what Kong compares is the SHA-256 of both
		if role == identity.ControlPlane {
			return identity.Identity{}, verdict.Refuse(verdict.NotShared, leaf, "control plane presented incorrect server certificate during handshake (digest does not match the certificate of this data plane): with cluster_mtls = shared both planes have the same cluster_cert, and the same cluster_mtls")
		}
		return identity.Identity{}, verdict.Refuse(verdict.NotShared, leaf, "data plane presented incorrect client certificate during handshake (digest does not match the control plane certificate)")
	}
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		reason, detail := verdict.Validity(leaf, leaf, now)
		return identity.Identity{}, verdict.Denied(&verdict.Refusal{Reason: reason, Subject: verdict.Subject(leaf), Detail: detail})
	}
	if !slices.Contains(d.Roles, role) {
		return identity.Identity{}, verdict.Refuse(verdict.WrongRole, leaf, "role %s, but only %s may be here", role, d.Roles)
	}
	return t.rules.assumed(leaf, role, defaultOrganisation, SharedName), nil
}

// PermittedName is the name of a data plane that may link, under [CheckCN], and that one where it may.
func (t *Trust) PermittedName(name string) string {
	if t.CheckCommonName(name) == nil {
		return name
	}
	if len(t.rules.CommonNames) == 0 {
		return name + "." + parentDomain(t.own.Pair.Leaf.Subject.CommonName)
	}
	for _, permitted := range t.rules.CommonNames {
		if identity.CheckLabel("name", permitted) == nil { // others are of certificates that were not given by joining
			return permitted
		}
	}
	return name
}
