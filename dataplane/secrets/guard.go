package secrets

import (
	"context"
	"path/filepath"
	"slices"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secretbackend"
)

// guard refuses what is this node's own: a configuration could otherwise have its keys sent to where it likes.
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

// guarded keeps a vault's backend from what is this node's own. A vault with a token of its own reads what that may.
func (s *Secrets) guarded(v spec, backend secretbackend.Backend) secretbackend.Backend {
	o := s.options
	switch {
	case v.kind == kindEnv:
		own := o.Own.variables(o.EnvPrefix)
		return guard{backend, func(name string) bool { return own[secretbackend.Variable(v.prefix, name)] }}
	case v.kind == kindFile:
		return guard{backend, func(name string) bool { return s.own.holds(filepath.Join(o.Folder, v.prefix, name)) }}
	case !v.nodes:
		return backend
	}
	own := o.Own.paths(o.HCV)
	return guard{backend, func(name string) bool {
		if v.mount != o.HCV.Mount && !v.v2 && administers(firstOf(name)) {
			return true
		}
		asked := pathOf(v.mount, v.v2, name)
		return slices.ContainsFunc(own, func(one string) bool { return endsAs(asked, one) })
	}}
}
