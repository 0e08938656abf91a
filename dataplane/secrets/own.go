package secrets

import (
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/shared/secretbackend"
	"github.com/keepgate/keepgate/shared/secretref"
)

// Own is what this node's settings have secrets from. No configuration is told what lies there, under whichever name, prefix or mount it
// asks: the gate would else send out its own keys.
type Own struct {
	References []secretref.Reference
	Files      []string // private keys, tokens, passwords
	Folders    []string // all that lies below them, but for the folder of files that can be referred to and what lies in it
}

func (o Own) of(kind string) (list []secretref.Reference) {
	for _, r := range o.References {
		if r.Place == kind {
			list = append(list, r)
		}
	}
	return list
}

func (o Own) variables(prefix string) map[string]bool {
	own := map[string]bool{}
	for _, r := range o.of(kindEnv) {
		own[secretbackend.Variable(prefix, r.Secret)] = true
	}
	return own
}

// paths are where the secrets lie in Vault's API, without namespaces: one may stand before a path as well as beside it, and servers that
// have none take any.
func (o Own) paths(n HCV) (list []string) {
	for _, r := range o.of(kindHCV) {
		list = append(list, pathOf(n.Mount, n.KV == "v2", r.Secret))
	}
	return list
}

// below are the files of this node's own where references to files lead below a folder.
func (o Own) below(folder string) *ownFiles {
	f := &ownFiles{seen: map[string][]fs.FileInfo{}}
	for _, name := range o.Files {
		f.paths = append(f.paths, absolute(name))
	}
	for _, r := range o.of(kindFile) {
		f.paths = append(f.paths, absolute(filepath.Join(folder, r.Secret)), absolute(filepath.Join(folder, r.Secret, r.Field)))
	}
	for _, own := range o.Folders {
		if !isBelow(target(folder), target(own)) {
			f.folders = append(f.folders, own)
		}
	}
	f.note()
	return f
}

// pathOf is where a secret is in Vault's API.
func pathOf(mount string, v2 bool, secret string) string {
	if v2 {
		mount = path.Join(mount, "data")
	}
	return path.Join("/", mount, secret)
}

// endsAs says whether two paths may be the same one below namespaces.
func endsAs(one, other string) bool {
	return strings.HasSuffix(one, other) || strings.HasSuffix(other, one)
}

// administers says that a mount leads to what Vault runs itself by, as the token that asks.
func administers(mount string) bool {
	return slices.ContainsFunc(strings.Split(mount, "/"), func(segment string) bool {
		return slices.Contains([]string{"auth", "sys", "identity", "cubbyhole"}, strings.ToLower(segment))
	})
}

func firstOf(name string) string {
	first, _, _ := strings.Cut(name, "/")
	return first
}
