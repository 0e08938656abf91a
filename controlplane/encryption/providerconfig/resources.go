package providerconfig

import (
	"fmt"
	"slices"
	"strings"
)

// resources reads the names of an entry. It keeps those that mean something.
func (r *reader) resources(f fields) (names []string) {
	for i, n := range r.list(f, "resources", "resource") {
		field := fmt.Sprintf("%s[%d]", f.path("resources"), i)
		name, ok := r.string(n, field)
		if !ok {
			continue
		}
		switch why := r.refuses(name); {
		case why != "":
			r.problems.add(n.Line, field, "%s", why)
		case slices.Contains(names, name):
			r.problems.add(n.Line, field, "%s is in this list twice", name)
		default:
			names = append(names, name)
		}
	}
	if slices.Contains(names, everything) && len(names) > 1 {
		r.problems.add(f.at("resources"), f.path("resources"), "overlap: *.* means the others too; give those an entry of their own before it")
	}
	return names
}

// refuses says why a name is none of ours, or "".
func (r *reader) refuses(name string) string {
	list := "; ours are: " + strings.Join(r.options.Tables, ", ") + ", and *.* for all of them"
	switch {
	case name == everything || slices.Contains(r.options.Tables, name):
		return ""
	case slices.Contains(r.options.Clear, name):
		return name + " has no encrypted field" + list
	case name == "*":
		return `a bare * means nothing: write "*.*"` + list
	case strings.ToLower(name) != name && slices.Contains(r.options.Tables, strings.ToLower(name)):
		return fmt.Sprintf("%q must not have capital letters: write %s", name, strings.ToLower(name))
	case !likeTable(name):
		return "it is no name of a table" + list
	case strings.HasPrefix(name, "*."):
		return fmt.Sprintf("%q names a group of Kubernetes, which there is none of here%s", name, list)
	}
	return fmt.Sprintf("%q is no table of ours%s", name, list)
}

// likeTable reports whether a name may be shown: it is written as names of tables and of Kubernetes are, and no key is
// that slipped there.
func likeTable(name string) bool {
	return len(name) <= 128 && !strings.ContainsFunc(name, func(c rune) bool {
		return !strings.ContainsRune("*._-", c) && (c < '0' || c > '9') && (c < 'a' || c > 'z')
	})
}

// masks refuses what an earlier entry hides.
func (r *reader) masks(entries []Entry) {
	for i, entry := range entries {
		for _, name := range entry.Resources {
			if slices.ContainsFunc(entries[:i], func(earlier Entry) bool { return slices.Contains(earlier.Resources, everything) }) {
				r.problems.add(entry.Line, fmt.Sprintf("resources[%d].resources", i), "resource %q is masked by earlier rule %q: put this entry before that", name, everything)
			}
		}
	}
}
