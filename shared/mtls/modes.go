package mtls

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
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

// SharedName is the server name under [Shared], and the common name of its certificate.
const SharedName = "kong_clustering"

// Who a certificate without an identity is, beside its name.
const (
	defaultOrganisation = "default"
	defaultEnvironment  = "default"
)

func (o *Options) check(files Files) error {
	switch {
	case files.Cert == "" || files.Key == "":
		return errors.New("cluster certificate and key must be provided to use Hybrid mode")
	case o.Mode != PKI && o.Mode != CheckCN && o.Mode != Shared:
		return fmt.Errorf("cluster_mtls = %s is not one of pki, pki_check_cn, shared", o.Mode)
	case o.Mode != PKI && o.Role != ControlPlane && o.Role != DataPlane:
		return fmt.Errorf("cluster_mtls = %s is for the two planes, not for role %q", o.Mode, string(o.Role))
	case o.Mode != Shared && files.CA == "":
		return fmt.Errorf("cluster_mtls = %s needs the certificates of the CAs that are believed (cluster_ca_cert)", o.Mode)
	case o.Mode == Shared && files.CRL != "":
		return errors.New("cluster_mtls = shared can revoke nothing: take cluster_crl out, or set cluster_mtls = pki")
	case o.Mode == Shared && o.Responders != nil:
		return errors.New("cluster_mtls = shared can revoke nothing: set cluster_ocsp = off, or cluster_mtls = pki")
	case o.Mode != CheckCN && len(o.CommonNames) > 0:
		return fmt.Errorf("cluster_mtls = %s looks at no common names: take cluster_allowed_common_names out, or set cluster_mtls = pki_check_cn", o.Mode)
	}
	return nil
}

// self is who this side is by its own certificate.
func (o *Options) self(leaf *x509.Certificate) (Identity, error) {
	if o.Mode == Shared {
		if !named(leaf, SharedName) {
			return Identity{}, fmt.Errorf("it is of %s; mode shared needs one of the name %s, as keepgate-cp hybrid gen_cert makes it",
				shown(leaf.Subject.String()), SharedName)
		}
		return o.assumed(leaf, o.Role, defaultOrganisation, SharedName), nil
	}
	id, err := IdentityOf(leaf)
	if o.Mode == CheckCN && errors.Is(err, errNoIdentity) {
		id = o.assumed(leaf, o.Role, defaultOrganisation, leaf.Subject.CommonName)
		err = id.Validate()
	}
	if err != nil {
		return Identity{}, err
	}
	if o.Mode == CheckCN && o.Role == ControlPlane && len(o.CommonNames) == 0 && parentDomain(leaf.Subject.CommonName) == "" {
		return Identity{}, fmt.Errorf("its common name %s has no parent domain that those of data planes could share: name theirs in cluster_allowed_common_names",
			shown(leaf.Subject.CommonName))
	}
	return id, nil
}

// otherSide is the role of a peer whose certificate does not say.
func (o *Options) otherSide(d demand) Role {
	if o.Role == DataPlane || slices.Equal(d.roles, []Role{ControlPlane}) {
		return ControlPlane
	}
	return DataPlane
}

// assumed is the identity of a certificate that names none.
func (o *Options) assumed(leaf *x509.Certificate, role Role, organisation, name string) Identity {
	id := Identity{Role: role, Organisation: organisation, Name: name, Serial: SerialText(leaf.SerialNumber), NotAfter: leaf.NotAfter}
	if role == DataPlane {
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
func (t *trust) identify(leaf *x509.Certificate, d demand) (Identity, error) {
	id, err := identityOf(leaf)
	refusal, _ := errors.AsType[*Refusal](err)
	if refusal != nil && refusal.Reason == NoIdentity && t.options.Mode == CheckCN {
		id, err = t.assume(leaf, d)
	}
	if err != nil {
		return Identity{}, err
	}
	if !slices.Contains(d.roles, id.Role) {
		return Identity{}, refuse(WrongRole, leaf, "role %s, but only %s may be here", id.Role, d.roles)
	}
	if t.options.Mode == CheckCN && id.Role == DataPlane {
		if err := t.checkCommonName(leaf.Subject.CommonName); err != nil {
			return Identity{}, refuse(WrongCommonName, leaf, "%v", err)
		}
	}
	return id, nil
}

// assume is for a certificate that names no identity under CheckCN.
func (t *trust) assume(leaf *x509.Certificate, d demand) (Identity, error) {
	role := t.options.otherSide(d)
	if role == ControlPlane && d.serverName == "" && !d.linked {
		return Identity{}, refuse(NoIdentity, leaf, "%v, and no server name is asked of it", errNoIdentity)
	}
	id := t.options.assumed(leaf, role, t.identity.Organisation, leaf.Subject.CommonName)
	err := id.Validate()
	if err != nil && role == ControlPlane { // what it is called is told to people alone
		id.Name = string(ControlPlane)
		err = id.Validate()
	}
	if err != nil {
		return Identity{}, refuse(NoIdentity, leaf, "%v, and its common name cannot be a node's: %v", errNoIdentity, err)
	}
	return id, nil
}

func (t *trust) checkCommonName(name string) error {
	if len(t.options.CommonNames) > 0 {
		if !slices.ContainsFunc(t.options.CommonNames, func(allowed string) bool { return strings.EqualFold(allowed, name) }) {
			return fmt.Errorf("common name %s is not in cluster_allowed_common_names", shown(name))
		}
		return nil
	}
	if own := parentDomain(t.pair.Leaf.Subject.CommonName); own == "" || parentDomain(name) != own {
		return fmt.Errorf("common name %s is not below %s, the parent domain of the control plane's certificate; cluster_allowed_common_names can name it",
			shown(name), shown(own))
	}
	return nil
}

// AllowsName says whether a data plane of this common name may link; its certificate is not looked at.
func (s *Source) AllowsName(name string) error {
	if s.options.Mode != CheckCN {
		return nil
	}
	return invalid("mtls.AllowsName", name, s.trust.Load().checkCommonName(name))
}

// PermittedName is the name of a data plane that may link, and that one where it may.
func (s *Source) PermittedName(name string) string {
	if s.AllowsName(name) == nil {
		return name
	}
	if len(s.options.CommonNames) == 0 {
		return name + "." + parentDomain(s.Certificate().Subject.CommonName)
	}
	for _, permitted := range s.options.CommonNames {
		if checkLabel("name", permitted) == nil { // others are of certificates that were not given by joining
			return permitted
		}
	}
	return name
}

// Mode returns whom this side believes.
func (s *Source) Mode() Mode { return s.options.Mode }

// verifyShared is the policy of Shared: the very same certificate, and in time.
func (t *trust) verifyShared(leaf *x509.Certificate, d demand, now time.Time) (Identity, error) {
	role := t.options.otherSide(d)
	if !bytes.Equal(leaf.Raw, t.pair.Leaf.Raw) { // what Kong compares is the SHA-256 of both
		if role == ControlPlane {
			return Identity{}, refuse(NotShared, leaf, "control plane presented incorrect server certificate during handshake (digest does not match the certificate of this data plane): with cluster_mtls = shared both planes have the same cluster_cert, and the same cluster_mtls")
		}
		return Identity{}, refuse(NotShared, leaf, "data plane presented incorrect client certificate during handshake (digest does not match the control plane certificate)")
	}
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		reason, detail := validity(leaf, leaf, now)
		return Identity{}, denied(&Refusal{Reason: reason, Subject: describe(leaf), Detail: detail})
	}
	if !slices.Contains(d.roles, role) {
		return Identity{}, refuse(WrongRole, leaf, "role %s, but only %s may be here", role, d.roles)
	}
	return t.options.assumed(leaf, role, defaultOrganisation, SharedName), nil
}

// Explain is [Explain] for a handshake of this Source. It adds what the other side's hello gives away: that it does
// not believe in the same way.
func (s *Source) Explain(err error, cs tls.ConnectionState) *Refusal {
	refusal := Explain(err)
	if refusal == nil || s.options.Role == DataPlane {
		return refusal
	}
	asked := cs.ServerName == SharedName
	if !slices.Contains([]Reason{RefusedByPeer, NotShared, UnknownCA}, refusal.Reason) || asked == (s.options.Mode == Shared) {
		return refusal
	}
	hint := "the other side has cluster_mtls = shared, this one " + string(s.options.Mode)
	if !asked {
		hint = "the other side has another cluster_mtls than shared, which this one has"
	}
	told := *refusal
	told.Detail += "; " + hint
	return &told
}
