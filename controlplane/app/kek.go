package app

import (
	"github.com/keepgate/keepgate/controlplane/keks"
	"github.com/keepgate/keepgate/shared/fault"
)

const tableKeks = "keks"

// openKeks makes the keys of Kubernetes clusters; it reads none yet.
func (p *plane) openKeks() {
	p.keks = keks.New(p.catalog, p.store, p.peers.journal, keks.Options{
		Sealing: p.seals(tableKeks), Unrecorded: !p.settings.Cluster.KMSAudit, Committed: func() { p.peers.committed() }, Log: p.log,
	})
	if !p.settings.Cluster.KMSAudit {
		p.log.Warn("kms_audit is off: what is wrapped and unwrapped for Kubernetes is not in the journal")
	}
}

// seals says why what is written into a table would rest in clear.
func (p *plane) seals(table string) func() error {
	return func() error {
		chains := p.providers.cipher.Chains()
		if chain := chains.Of(table); chain.Providers[0].Prefix() == "" {
			return fault.Newf(fault.Invalid, "app.Seals", table, "it would rest in the database in clear (%s): set keyring_enabled = on and, as the database was used, "+
				"keyring_migrate_plaintext = on, or give %s a provider that encrypts in encryption_provider_config", chain.Origin, table)
		}
		return nil
	}
}
