package app

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/keepgate/keepgate/controlplane/admin/guard"
	"github.com/keepgate/keepgate/controlplane/admin/rbac"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
)

// access is the Admin API's access control; nil when enforce_rbac is off.
func (p *plane) access(ctx context.Context, hostToken secret.Bytes) (*rbac.Control, error) {
	s := p.settings.Admin
	if !s.EnforceRBAC {
		return nil, nil
	}
	options := rbac.Options{Header: s.RBACHeader, HostToken: hostToken, FirstFile: s.FirstToken, Log: p.log}
	if p.peers.journal != nil {
		options.Journal = p.peers.journal
	}
	control := rbac.New(p.catalog, options)
	if err := control.Begin(ctx); err != nil {
		return nil, fmt.Errorf("looking for users: %w", err)
	}
	return control, nil
}

// adminListeners are the sockets of the Admin API, as its rules look at them.
func adminListeners(s cpsettings.Admin) (listeners []guard.Listener) {
	for _, at := range s.Listen {
		listeners = append(listeners, guard.Listener{Address: at.Address, TLS: at.TLS})
	}
	return listeners
}

// checkAccess refuses a name that no header can have, and one that means something else already.
func checkAccess(s cpsettings.Admin) error {
	name := http.CanonicalHeaderKey(s.RBACHeader)
	valid := name != "" && !strings.ContainsFunc(name, func(c rune) bool {
		return c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	})
	switch name {
	case "Authorization", "Cookie", "Host", "Content-Type", "Content-Length", "Origin":
		valid = false
	}
	if !valid {
		return fault.Newf(fault.Invalid, "app.Run", "rbac_auth_header", "%q cannot be the header of tokens; write one as Kong-Admin-Token", s.RBACHeader)
	}
	return nil
}
