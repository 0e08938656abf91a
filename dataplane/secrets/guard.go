package secrets

import (
	"context"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secretbackend"
)

// guard refuses what this node's own settings refer to: a configuration could otherwise have the node's keys sent to where it likes.
type guard struct {
	secretbackend.Backend
	own func(name string) bool // of a secret, or of a secret and its member as one path
}

// Read implements [secretbackend.Backend].
func (g guard) Read(ctx context.Context, secret string, version int, fields []string) (map[string]secretbackend.Field, error) {
	if g.own(secret) || slices.ContainsFunc(fields, func(field string) bool { return field != "" && g.own(secret+"/"+field) }) {
		return nil, fault.Newf(fault.Denied, "secrets.Read", "", "a setting of this node refers to it, and so nothing else may")
	}
	return g.Backend.Read(ctx, secret, version, fields)
}

// guarded keeps a vault's backend from the secrets of settings. A vault with a token of its own reads what that may.
func (o Options) guarded(v spec, backend secretbackend.Backend) secretbackend.Backend {
	own := map[string]bool{} // by what they are, however they are called
	files := []string(nil)
	for _, r := range o.Own {
		switch {
		case r.Place != v.kind:
		case v.kind == kindEnv:
			own[secretbackend.Variable(o.EnvPrefix, r.Secret)] = true
		case v.kind == kindFile:
			files = append(files, filepath.Join(o.Folder, r.Secret), filepath.Join(o.Folder, r.Secret, r.Field))
		case v.nodes:
			own[pathOf(o.HCV.Namespace, o.HCV.Mount, o.HCV.KV == "v2", r.Secret)] = true
		}
	}
	switch {
	case len(files) > 0:
		return guard{backend, func(name string) bool { return isOneOf(filepath.Join(o.Folder, v.prefix, name), files) }}
	case len(own) == 0:
		return backend
	case v.kind == kindEnv:
		return guard{backend, func(name string) bool { return own[secretbackend.Variable(v.prefix, name)] }}
	}
	return guard{backend, func(name string) bool { return own[pathOf(v.namespace, v.mount, v.v2, name)] }}
}

// pathOf is where a secret is in Vault's API: a namespace may stand before the path, and a mount may be named as if a part of the
// secret's path belonged to it.
func pathOf(namespace, mount string, v2 bool, secret string) string {
	if v2 {
		mount = path.Join(mount, "data")
	}
	return path.Join("/", namespace, mount, secret)
}

// isOneOf says whether a path leads to the same file as one of others.
func isOneOf(name string, others []string) bool {
	info, err := os.Stat(name)
	if err != nil || info.IsDir() {
		return false // nothing is read from it
	}
	return slices.ContainsFunc(others, func(other string) bool {
		own, err := os.Stat(other)
		return err == nil && os.SameFile(info, own)
	})
}
