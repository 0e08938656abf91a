package app

import (
	"context"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/keepgate/keepgate/dataplane/secrets"
	"github.com/keepgate/keepgate/dataplane/status"
	"github.com/keepgate/keepgate/shared/lifecycle"
	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/settings/dpsettings"
)

// refer makes what finds out where references lead.
func (p *plane) refer(roots *x509.CertPool) error {
	s := p.settings.References
	if err := s.Check(); err != nil {
		return err
	}
	p.secrets = secrets.New(secrets.Options{
		Own:       p.own,
		EnvPrefix: s.EnvPrefix, Folder: s.Folder, TTL: s.TTL, Negative: s.NegativeTTL, Resurrect: s.ResurrectTTL, Hosts: s.Hosts, Roots: roots, Log: p.log,
		HCV: secrets.HCV{
			Protocol: s.Protocol, Host: s.Host, Port: s.Port, Namespace: s.Namespace, Mount: s.Mount, KV: s.KV, AuthMethod: s.AuthMethod, Token: s.Token, TokenFile: s.TokenFile,
			KubeRole: s.KubeRole, KubeAuthPath: s.KubeAuthPath, KubeTokenFile: s.KubeTokenFile, TTL: s.HCVTTL,
		},
	})
	if err := p.metrics.Register(secrets.NewMetrics(p.secrets)); err != nil {
		return fmt.Errorf("metrics of vaults: %w", err)
	}
	return nil
}

// ownOf is what this node's settings have secrets from.
func ownOf(s dpsettings.DataPlane, loaded *settings.Loaded) secrets.Own {
	references, given := loaded.Private()
	files, folders := s.Private()
	return secrets.Own{References: references, Files: append(files, given...), Folders: folders}
}

// referred are the parts that follow what references lead to.
func (p *plane) referred() []lifecycle.Part {
	return []lifecycle.Part{{Name: "secret references", Run: p.secrets.Run}, {Name: "changes of secrets", Run: p.renew}}
}

// renew compiles what serves anew when a secret has changed: connections stay, and so does all that does not need it.
// Whoever changes secrets all the time must not have this node compile all the time.
func (p *plane) renew(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.secrets.Changed():
		}
		began := time.Now()
		p.refresh()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(3*time.Since(began), longestRest)):
		}
	}
}

// refresh compiles what serves anew, and has the control plane told what of it cannot be used now.
func (p *plane) refresh() {
	p.applier.Refresh()
	if p.uplink != nil {
		p.uplink.Tell()
	}
}

// longestRest is how much later a secret is used, at most, because others have changed before it.
const longestRest = 5 * time.Second

// forgetSecrets wipes what references led to.
func (p *plane) forgetSecrets() {
	if p.secrets != nil {
		p.secrets.Forget()
	}
}

// Vaults implements [status.Node].
func (n node) Vaults() []status.Vault {
	var list []status.Vault
	for _, v := range n.front.plane.secrets.Status() {
		list = append(list, status.Vault{
			Workspace: v.Workspace, Name: v.Vault, Kind: v.Kind, References: v.References, Unresolved: v.Unresolved, Failures: v.Failures,
			LastSuccess: v.LastSuccess, Fault: v.Fault,
		})
	}
	return list
}
