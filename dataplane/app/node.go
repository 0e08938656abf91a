package app

import (
	"fmt"
	"net"

	"github.com/keepgate/keepgate/dataplane/edgekeys"
	"github.com/keepgate/keepgate/dataplane/localstore"
	"github.com/keepgate/keepgate/dataplane/upstream"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/localkeys"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/privatekey"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/settings/dpsettings"
)

// storeKeyLabel separates the local store's keys from whatever else is derived from the cluster key.
const storeKeyLabel = edgekeys.Label

// openStore opens the local store under this node's keys.
func openStore(s dpsettings.DataPlane, source *mtls.Source, keys *scoped, options localstore.Options) (*localstore.Store, localstore.State, error) {
	var err error
	if options.Mode, err = localstore.ParseMode(s.Store.Encryption); err != nil {
		return nil, localstore.State{}, err
	}
	if options.Mode == localstore.Off {
		options.Log.Warn("declarative_config_encryption_mode is off: the configuration, secrets included, lies on this disk in clear")
	}
	who := source.Identity()
	options.Holder, options.RefuseClear, options.Node = keys, s.Keys.RefusesClear, who.Organisation+"/"+who.Environment
	return localstore.Open(s.Store.Folder, options)
}

func storeKeys(source *mtls.Source, others []string) (*localkeys.Ring, error) {
	current, err := source.DeriveKey(storeKeyLabel, 32)
	if err != nil {
		return nil, fmt.Errorf("deriving the local store's key: %w", err)
	}
	older, err := olderKeys(others)
	if err != nil {
		return nil, err
	}
	return localkeys.New(current, older...)
}

func olderKeys(files []string) (older []secret.Bytes, err error) {
	for _, file := range files {
		key, err := privatekey.DeriveFile(file, storeKeyLabel, 32)
		if err != nil {
			return nil, fmt.Errorf("a key before this node's own: %w", err)
		}
		older = append(older, key)
	}
	return older, nil
}

// previousKeys are those that the operator names.
func previousKeys(c dpsettings.Cluster) []string {
	if c.PreviousKey == "" {
		return nil
	}
	return []string{c.PreviousKey}
}

// identify gives the node its own certificate for upstreams, if it has one.
func (p *plane) identify() error {
	u := p.settings.Upstream
	if !u.ClientSSL {
		return nil
	}
	for name, path := range map[string]string{"client_ssl_cert": u.ClientSSLCert, "client_ssl_cert_key": u.ClientSSLKey} {
		if path == "" {
			return fault.Newf(fault.Invalid, "app.Run", name, "client_ssl is on: set client_ssl_cert and client_ssl_cert_key")
		}
	}
	node, err := upstream.OpenNode(u.ClientSSLCert, u.ClientSSLKey)
	if err != nil {
		return err
	}
	p.pools.Identify(node, p.log)
	return nil
}

// serverName is the name that the certificate of the control plane node at an address has to bear.
func serverName(c dpsettings.Cluster, address string) string {
	if c.ServerName != "" {
		return c.ServerName
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}

func pluginVersions() []*syncv1.PluginVersion {
	var list []*syncv1.PluginVersion
	for _, p := range plugins.All() {
		list = append(list, &syncv1.PluginVersion{Name: p.Name, Version: p.Version})
	}
	return list
}

// orNone turns the setting's 0, which means none, into what the options take for it.
func orNone(n int) int {
	if n == 0 {
		return -1
	}
	return n
}
