package scopedkeys

import (
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/keepgate/keepgate/shared/localkeys"
)

// File is a YAML file of keys that was read whole.
type File struct {
	name             string
	organisation     string // "": it names none
	organisationLine int
	organisationKeys []given
	defaults         []given
	environments     []environment
}

// environment is an entry of envs.
type environment struct {
	name string
	line int
	keys []given
	kms  []given // at most one: the organisation's, written again
}

// Parse reads a file. name is for messages only. The error is fault.Invalid and wraps *[Problems].
func Parse(name string, text []byte) (*File, error) {
	r := &reader{Problems: &Problems{}, file: name}
	f := &File{name: name}
	if root := r.document(mend(r.Problems, name, text)); root != nil {
		r.top(root, f)
		r.sameKMS(f)
	}
	if err := r.err("scopedkeys.Parse"); err != nil {
		return nil, err
	}
	return f, nil
}

func (r *reader) top(root *yaml.Node, f *File) {
	members := r.members(root, "", "defaults", "org", contractName, kmsName, kvmName, "envs")
	f.organisation, f.organisationLine = r.word(members, "", "org")
	f.organisationKeys = r.keys(members, "", byFile, false, localkeys.Contract, localkeys.KMS, localkeys.KVM)
	if n := members["defaults"]; n != nil {
		defaults := r.members(n, "defaults", "org", "env")
		if org := defaults["org"]; org != nil {
			m := r.members(org, "defaults.org", contractName, kmsName, kvmName)
			f.defaults = append(f.defaults, r.keys(m, "defaults.org", byDefault, false, localkeys.Contract, localkeys.KMS, localkeys.KVM)...)
		}
		if env := defaults["env"]; env != nil {
			m := r.members(env, "defaults.env", kvmName, cacheName)
			f.defaults = append(f.defaults, r.keys(m, "defaults.env", byDefault, true, localkeys.KVM, localkeys.Cache)...)
		}
	}
	if n := members["envs"]; n != nil {
		r.environments(n, f)
	}
}

func (r *reader) environments(n *yaml.Node, f *File) {
	list := r.follow(n)
	if list == nil {
		return
	}
	if list.Kind != yaml.SequenceNode {
		r.add(r.at(n, "envs"), "expected a list: - name: …")
		return
	}
	lines := map[string]int{}
	for i, item := range list.Content {
		field := fmt.Sprintf("envs[%d]", i)
		members := r.members(item, field, "name", kvmName, kmsName, cacheName)
		if members == nil {
			continue
		}
		e := environment{line: item.Line}
		e.name, _ = r.word(members, field, "name")
		if members["name"] == nil {
			r.add(r.at(item, field), "it needs a name")
		}
		if first, there := lines[e.name]; there && e.name != "" {
			r.add(r.at(item, field), "environment %q is there already, at line %d", e.name, first)
		}
		lines[e.name] = item.Line
		e.keys = r.keys(members, field, byFile, true, localkeys.KVM, localkeys.Cache)
		e.kms = r.keys(members, field, byFile, false, localkeys.KMS)
		f.environments = append(f.environments, e)
	}
}

// keys reads the members that are keys of one level.
func (r *reader) keys(members map[string]*yaml.Node, field string, strength rank, environment bool, classes ...localkeys.Class) (list []given) {
	for _, class := range classes {
		n := members[NameOf(class)]
		if n == nil {
			continue
		}
		at := r.at(n, join(field, NameOf(class)))
		s := r.follow(n)
		if s == nil {
			continue
		}
		if s.Kind != yaml.ScalarNode || s.ShortTag() == "!!null" {
			r.add(at, "expected a key")
			continue
		}
		value, err := ParseValue(s.Value)
		if err != nil {
			r.add(at, "%v", err)
			continue
		}
		list = append(list, given{Key{class, environment}, value, strength, at})
	}
	return list
}

// sameKMS holds the kms keys of environments to the organisation's, as far as that can be told without opening any.
func (r *reader) sameKMS(f *File) {
	organisation := f.kms()
	for _, e := range f.environments {
		for _, own := range e.kms {
			switch {
			case organisation == nil:
				r.add(own.from, "credentials are sealed by the organisation's key alone, and none is given: write it as %s beside org", kmsName)
			case own.value.Wrapped == "" && organisation.value.Wrapped == "" && !own.value.Plain.Equal(organisation.value.Plain):
				r.add(own.from, "it differs from the organisation's, at line %d, which alone seals credentials: write the same one, or none", organisation.from.line)
			}
		}
	}
}

// kms is the organisation's key for credentials, as the file has it.
func (f *File) kms() *given {
	for _, list := range [][]given{f.organisationKeys, f.defaults} {
		for i := range list {
			if list[i].key == (Key{localkeys.KMS, false}) {
				return &list[i]
			}
		}
	}
	return nil
}
