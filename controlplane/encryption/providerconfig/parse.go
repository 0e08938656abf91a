package providerconfig

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/keepgate/keepgate/shared/fault"
)

const (
	apiVersion = "apiserver.config.k8s.io/v1"
	kindName   = "EncryptionConfiguration"
)

// Hash is how a file is known from another, as Kubernetes writes it.
func Hash(text []byte) string {
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Parse reads a file. name is for messages only. The error is fault.Invalid and wraps *[Problems].
func Parse(name string, text []byte, options Options) (*Config, error) {
	r := &reader{problems: &Problems{File: name}, options: options}
	config := &Config{Hash: Hash(text)}
	if root := r.document(text); root != nil {
		r.top(root, config)
	}
	if err := r.problems.err(); err != nil {
		return nil, fault.New(fault.Invalid, "providerconfig.Parse", "encryption_provider_config", err)
	}
	config.Warnings = warnings(config)
	return config, nil
}

func (r *reader) top(root *yaml.Node, config *Config) {
	f, ok := r.fields(root, "", "apiVersion", "kind", "resources")
	if !ok {
		return
	}
	r.word(f, "apiVersion", apiVersion)
	r.word(f, "kind", kindName)
	for i, n := range r.list(f, "resources", "entry of resources and providers") {
		config.Entries = append(config.Entries, r.entry(n, fmt.Sprintf("resources[%d]", i)))
	}
	r.masks(config.Entries)
	r.same(config.Entries)
}

// word reads a member that has one value.
func (r *reader) word(f fields, name, want string) {
	if text, ok := r.text(f, name); ok && text != want {
		r.problems.add(f.at(name), f.path(name), "expected %s", want)
	}
}

func (r *reader) entry(n *yaml.Node, field string) Entry {
	entry := Entry{Line: n.Line}
	f, ok := r.fields(n, field, "resources", "providers")
	if !ok {
		return entry
	}
	entry.Resources = r.resources(f)
	for i, n := range r.list(f, "providers", "provider") {
		at := fmt.Sprintf("%s[%d]", f.path("providers"), i)
		p, ok := r.provider(n, at)
		if !ok {
			continue
		}
		if twice := slices.IndexFunc(entry.Providers, func(other Provider) bool { return overlaps(p, other) }); twice >= 0 {
			r.problems.add(p.Line, at, "the list has it already, at line %d", entry.Providers[twice].Line)
		}
		entry.Providers = append(entry.Providers, p)
	}
	r.writer(entry, field)
	return entry
}

// overlaps: both would read the same values.
func overlaps(a, b Provider) bool {
	if a.Kind != b.Kind {
		return false
	}
	if a.Plugin != nil {
		return b.Plugin != nil && a.Plugin.Name == b.Plugin.Name && a.Plugin.Version == b.Plugin.Version
	}
	if !a.Kind.static() {
		return true
	}
	return slices.ContainsFunc(a.Keys, func(k Key) bool {
		return slices.ContainsFunc(b.Keys, func(other Key) bool { return k.Name == other.Name })
	})
}

// writer refuses a list whose first provider may not write here.
func (r *reader) writer(entry Entry, field string) {
	if len(entry.Providers) == 0 || r.options.AllowUnbound {
		return
	}
	if first := entry.Providers[0]; first.Kind == AESCBC || first.Kind == Secretbox {
		r.problems.add(first.Line, join(field, "providers[0]."+string(first.Kind)), "it would write, and what it writes opens in any other row too: "+
			"put aesgcm, kms or keyring before it, which leaves it reading, or set allow_unbound_providers = on")
	}
}

// same holds each name to one meaning in the whole file, since values carry the name alone.
func (r *reader) same(entries []Entry) {
	plugins, keys := map[string]Provider{}, map[string]named{}
	for i, entry := range entries {
		for j, p := range entry.Providers {
			field := fmt.Sprintf("resources[%d].providers[%d].%s", i, j, p.Kind)
			if p.Plugin != nil {
				if first, known := plugins[p.Plugin.Name]; known && *first.Plugin != *p.Plugin {
					r.problems.add(p.Line, join(field, "name"), "duplicate KMS provider name %s, which is something else at line %d: a name stands for one plugin", p.Plugin.Name, first.Line)
				} else if !known {
					plugins[p.Plugin.Name] = p
				}
			}
			for k, key := range p.Keys {
				name := string(p.Kind) + ":" + key.Name
				if first, known := keys[name]; known && !first.key.Secret.Equal(key.Secret) {
					r.problems.add(p.Line, fmt.Sprintf("%s.keys[%d].name", field, k), "key %s has another secret at line %d: a name stands for one key", key.Name, first.line)
				} else if !known {
					keys[name] = named{key, p.Line}
				}
			}
		}
	}
}

type named struct {
	key  Key
	line int
}

func warnings(config *Config) (list []string) {
	seen := map[string]bool{}
	for _, p := range config.Plugins() {
		if p.Version == "v1" && !seen[p.Name] {
			seen[p.Name] = true
			list = append(list, fmt.Sprintf("KMS provider %s speaks the KMS v1 API, which is deprecated and asks the plugin for every write: "+
				"move its values to a provider of apiVersion: v2", p.Name))
		}
	}
	return list
}
