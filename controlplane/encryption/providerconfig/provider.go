package providerconfig

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

const (
	defaultTimeout   = 3 * time.Second
	defaultCacheSize = 1000
	maxName          = 64
)

// provider reads one element of providers; not ok when it cannot be used further.
func (r *reader) provider(n *yaml.Node, field string) (p Provider, ok bool) {
	var names []string
	for _, kind := range kinds() {
		names = append(names, string(kind))
	}
	f, ok := r.fields(n, field, names...)
	if !ok {
		return p, false
	}
	var found []Kind
	for _, kind := range kinds() {
		if f.has(string(kind)) {
			found = append(found, kind)
		}
	}
	switch len(found) {
	case 1:
	case 0:
		r.problems.add(n.Line, field, "it is no provider; expected one of %s", strings.Join(names, ", "))
		return p, false
	default:
		r.problems.add(n.Line, field, "more than one provider in one element: write each with its own dash")
		return p, false
	}
	p = Provider{Kind: found[0], Line: n.Line}
	inside, at := f.members[string(p.Kind)], join(field, string(p.Kind))
	switch {
	case p.Kind == KMS:
		p.Plugin, ok = r.plugin(inside, at)
	case p.Kind.static():
		p.Keys, ok = r.keys(inside, at, p.Kind)
	default:
		_, ok = r.fields(inside, at)
		if p.Kind == Keyring && !r.options.Keyring {
			r.problems.add(n.Line, at, "there is no keyring: set keyring_enabled = on")
		}
	}
	return p, ok
}

func (r *reader) plugin(n *yaml.Node, field string) (*Plugin, bool) {
	f, ok := r.fields(n, field, "apiVersion", "name", "endpoint", "timeout", "cachesize")
	if !ok {
		return nil, false
	}
	p := &Plugin{Timeout: r.timeout(f)}
	p.Name, _ = r.text(f, "name")
	if why := badName(p.Name); why != "" {
		r.problems.add(f.at("name"), f.path("name"), "%s", why)
	}
	p.Endpoint, _ = r.text(f, "endpoint")
	switch {
	case p.Endpoint == "":
		r.problems.add(f.at("endpoint"), f.path("endpoint"), "it is a mandatory field: unix:///path of the plugin's socket")
	case r.options.Endpoint != nil:
		if err := r.options.Endpoint(p.Endpoint); err != nil {
			r.problems.add(f.at("endpoint"), f.path("endpoint"), "%s", fault.Text(err))
		}
	}
	r.version(f, p)
	return p, true
}

// version reads apiVersion, and cachesize, which depends on it.
func (r *reader) version(f fields, p *Plugin) {
	p.Version, _ = r.text(f, "apiVersion")
	switch p.Version {
	case "v2":
		if f.has("cachesize") {
			r.problems.add(f.at("cachesize"), f.path("cachesize"), "cachesize is not supported in v2")
		}
		return
	case "", "v1":
		p.Version = "v1"
		if !r.options.Gates.KMSv1 {
			r.problems.add(f.at("apiVersion"), f.path("apiVersion"), "v1, which an empty apiVersion means too, is deprecated and off: "+
				"write apiVersion: v2, or set feature_gates = KMSv1=true for a plugin that speaks nothing else")
		}
	default:
		r.problems.add(f.at("apiVersion"), f.path("apiVersion"), "unsupported apiVersion, only v1 and v2 are supported")
		return
	}
	p.CacheSize = defaultCacheSize
	if n := f.members["cachesize"]; n != nil {
		size, err := 0, error(nil)
		if s := r.follow(n); s != nil && s.ShortTag() == "!!int" {
			size, err = strconv.Atoi(s.Value)
		}
		if err != nil || size == 0 || size > 1<<30 {
			r.problems.add(n.Line, f.path("cachesize"), "expected a whole number above 0, or below to keep none")
		}
		p.CacheSize = size
	}
}

func (r *reader) timeout(f fields) time.Duration {
	if !f.has("timeout") {
		return defaultTimeout
	}
	text, ok := r.text(f, "timeout")
	if !ok {
		return defaultTimeout
	}
	timeout, err := time.ParseDuration(text)
	if err != nil || timeout <= 0 || timeout > time.Hour {
		r.problems.add(f.at("timeout"), f.path("timeout"), "expected a time above 0 and with its unit, as 3s or 500ms")
		return defaultTimeout
	}
	return timeout
}

// keys reads the keys of a static provider.
func (r *reader) keys(n *yaml.Node, field string, kind Kind) (keys []Key, ok bool) {
	f, ok := r.fields(n, field, "keys")
	if !ok {
		return nil, false
	}
	for i, n := range r.list(f, "keys", "key") {
		at := fmt.Sprintf("%s[%d]", f.path("keys"), i)
		f, ok := r.fields(n, at, "name", "secret")
		if !ok {
			continue
		}
		key, line := Key{}, f.at("name")
		key.Name, _ = r.text(f, "name")
		if why := badName(key.Name); why != "" {
			r.problems.add(line, f.path("name"), "%s", why)
		} else if slices.ContainsFunc(keys, func(other Key) bool { return other.Name == key.Name }) {
			r.problems.add(line, f.path("name"), "key %s is there twice", key.Name)
		}
		key.Secret = r.secret(f, kind)
		keys = append(keys, key)
	}
	return keys, len(keys) > 0
}

func (r *reader) secret(f fields, kind Kind) secret.Bytes {
	at := f.path("secret")
	r.problems.secrets = r.problems.secrets || f.has("secret")
	text, ok := r.text(f, "secret")
	switch {
	case !ok:
		return secret.Bytes{}
	case text == "":
		r.problems.add(f.at("secret"), at, "it is a mandatory field: the key in base64")
		return secret.Bytes{}
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		r.problems.add(f.at("secret"), at, "REDACTED is no standard base64")
		return secret.Bytes{}
	}
	sizes := []int{32}
	if kind != Secretbox {
		sizes = []int{16, 24, 32}
	}
	if !slices.Contains(sizes, len(data)) {
		r.problems.add(f.at("secret"), at, "REDACTED is not of the expected length, got %d bytes, expected one of %v; make one with: head -c 32 /dev/urandom | base64", len(data), sizes)
	}
	return secret.Take(data)
}

// badName says why a name cannot stand in stored values, without repeating it; "" when it can.
func badName(name string) string {
	invalid := func(c rune) bool {
		return !strings.ContainsRune("._-", c) && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	}
	switch {
	case name == "":
		return "it is a mandatory field"
	case len(name) > maxName || strings.ContainsFunc(name, invalid):
		return fmt.Sprintf("invalid name: 1 to %d of the signs A-Z a-z 0-9 . _ -, since it stands in stored values between colons", maxName)
	}
	return ""
}
