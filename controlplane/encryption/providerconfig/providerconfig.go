// Package providerconfig reads encryption_provider_config: which providers encrypt which tables, in the file format
// that Kubernetes calls EncryptionConfiguration (apiserver.config.k8s.io/v1), YAML or JSON.
//
//	apiVersion: apiserver.config.k8s.io/v1
//	kind: EncryptionConfiguration
//	resources:
//	  - resources: [keyauth_credentials, consumers]
//	    providers:
//	      - kms: {apiVersion: v2, name: myKmsPlugin, endpoint: "unix:///run/kms.sock", timeout: 3s}
//	      - keyring: {}
//	      - identity: {}
//	  - resources: ["*.*"]
//	    providers:
//	      - keyring: {}
//
// Resources are tables with encrypted fields, or "*.*" for all of them. The first provider of a list writes, all read.
// keyring is the one kind of provider that Kubernetes does not have: our own ring.
//
// Reading is strict: whatever is unknown, twice, overlapping or of a wrong size is a [Problem] with its line, all of
// them at once, and no secret stands in any. The package opens nothing; controlplane/app makes providers of what it
// read.
package providerconfig

import (
	"slices"
	"strings"
	"time"

	"github.com/keepgate/keepgate/shared/secret"
)

// Kind is a kind of provider, as the file names it.
type Kind string

// The kinds.
const (
	Keyring   Kind = "keyring"
	KMS       Kind = "kms"
	AESGCM    Kind = "aesgcm"
	AESCBC    Kind = "aescbc"
	Secretbox Kind = "secretbox"
	Identity  Kind = "identity"
)

// kinds lists all of them, as messages do.
func kinds() []Kind { return []Kind{Keyring, KMS, AESGCM, AESCBC, Secretbox, Identity} }

// static reports whether a provider of the kind has its keys in the file.
func (k Kind) static() bool { return k == AESGCM || k == AESCBC || k == Secretbox }

// everything is the resource that means every table.
const everything = "*.*"

// Config is a file that was read and found right.
type Config struct {
	Hash     string   // "sha256:<hex>" of the file's bytes
	Entries  []Entry  // in the order of the file
	Warnings []string // what is accepted and ought to change
}

// Entry is one element of resources.
type Entry struct {
	Line      int
	Resources []string
	Providers []Provider
}

// Provider is one element of providers.
type Provider struct {
	Kind   Kind
	Line   int
	Plugin *Plugin // of kind KMS
	Keys   []Key   // of kinds AESGCM, AESCBC, Secretbox: the first writes
}

// String names a provider for people, without its keys' material.
func (p Provider) String() string {
	words := []string{string(p.Kind)}
	if p.Plugin != nil {
		words = append(words, p.Plugin.Version, p.Plugin.Name)
	}
	for _, key := range p.Keys {
		words = append(words, key.Name)
	}
	return strings.Join(words, " ")
}

// Plugin is a KMS plugin.
type Plugin struct {
	Name      string
	Version   string // "v1" or "v2"
	Endpoint  string
	Timeout   time.Duration // of each call
	CacheSize int           // of v1: how many data keys are kept; negative: none
}

// Key is a named key of a static provider.
type Key struct {
	Name   string
	Secret secret.Bytes
}

// Chain is what writes and reads a table: the first provider writes. line is that of the entry that says so.
// Found is false where the file says nothing of the table.
//
// An entry that names the table counts before one of "*.*"; where several name it their lists follow one another.
func (c *Config) Chain(table string) (chain []Provider, line int, found bool) {
	for _, name := range []string{table, everything} {
		for _, entry := range c.Entries {
			if !slices.Contains(entry.Resources, name) {
				continue
			}
			if !found {
				line, found = entry.Line, true
			}
			chain = appendNew(chain, entry.Providers)
		}
		if found {
			return chain, line, true
		}
	}
	return nil, 0, false
}

// appendNew adds the providers, without what the chain has already. That a name means the same everywhere in a file
// was seen when it was read.
func appendNew(chain, more []Provider) []Provider {
	for _, p := range more {
		p.Keys = slices.DeleteFunc(slices.Clone(p.Keys), func(k Key) bool {
			return slices.ContainsFunc(chain, func(has Provider) bool {
				return has.Kind == p.Kind && slices.ContainsFunc(has.Keys, func(other Key) bool { return other.Name == k.Name })
			})
		})
		known := p.Kind.static() && len(p.Keys) == 0 || slices.ContainsFunc(chain, func(has Provider) bool {
			return has.Kind == p.Kind && (p.Kind == Keyring || p.Kind == Identity || p.Kind == KMS && *has.Plugin == *p.Plugin)
		})
		if !known {
			chain = append(chain, p)
		}
	}
	return chain
}

// Plugins lists the KMS providers as often as they stand in the file, in its order.
func (c *Config) Plugins() (plugins []Plugin) {
	for _, entry := range c.Entries {
		for _, p := range entry.Providers {
			if p.Plugin != nil {
				plugins = append(plugins, *p.Plugin)
			}
		}
	}
	return plugins
}

// Grace is how long calls to the plugins may still take when another file has taken this one's place: twice the sum of
// their timeouts.
func (c *Config) Grace() (grace time.Duration) {
	for _, p := range c.Plugins() {
		grace += 2 * p.Timeout
	}
	return grace
}
