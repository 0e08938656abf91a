package mtls

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/trust"
)

// Options tunes a Source. The zero value is right for production, with certificates that name identities.
type Options struct {
	Mode        trust.Mode    // default PKI
	Role        identity.Role // who this side is; needed in other modes, where its certificate may not say so
	CommonNames []string      // with CheckCN: those of data planes; none: the parent domain of the own one
	CrossSigned bool          // a peer may be of a CA that a believed one has signed and of which there is no CRL yet

	Responders Responders // asked about clients that connect, and again while they stay; default nobody
	Optional   bool       // a client may be here of whom no responder knows

	Poll time.Duration // how often Run looks at the files; default 2 s, spread by a fifth
	Log  *slog.Logger  // default: discard
}

func (o *Options) check(files Files) error {
	switch {
	case files.Cert == "" || files.Key == "":
		return errors.New("cluster certificate and key must be provided to use Hybrid mode")
	case o.Mode != trust.PKI && o.Mode != trust.CheckCN && o.Mode != trust.Shared:
		return fmt.Errorf("cluster_mtls = %s is not one of pki, pki_check_cn, shared", o.Mode)
	case o.Mode != trust.PKI && o.Role != identity.ControlPlane && o.Role != identity.DataPlane:
		return fmt.Errorf("cluster_mtls = %s is for the two planes, not for role %q", o.Mode, string(o.Role))
	case o.Mode != trust.Shared && files.CA == "":
		return fmt.Errorf("cluster_mtls = %s needs the certificates of the CAs that are believed (cluster_ca_cert)", o.Mode)
	case o.Mode == trust.Shared && files.CRL != "":
		return errors.New("cluster_mtls = shared can revoke nothing: take cluster_crl out, or set cluster_mtls = pki")
	case o.Mode == trust.Shared && o.Responders != nil:
		return errors.New("cluster_mtls = shared can revoke nothing: set cluster_ocsp = off, or cluster_mtls = pki")
	case o.Mode != trust.CheckCN && len(o.CommonNames) > 0:
		return fmt.Errorf("cluster_mtls = %s looks at no common names: take cluster_allowed_common_names out, or set cluster_mtls = pki_check_cn", o.Mode)
	}
	return nil
}

// rules are what the options say of how to believe.
func (o *Options) rules() *trust.Rules {
	return &trust.Rules{Mode: o.Mode, Role: o.Role, CommonNames: o.CommonNames, CrossSigned: o.CrossSigned}
}
