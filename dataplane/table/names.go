package table

import "strings"

// byName finds what belongs to a server name as Kong selects it: exact, then *.parent, then prefix.*, then *. It is
// immutable, and a look-up of a lower-cased name allocates nothing.
type byName[T any] struct {
	exact  map[string]T
	suffix map[string]T // by ".parent"
	prefix map[string]T // by "prefix."
	rest   T            // what "*" stands for
}

// newByName makes the index of names ("a.example", "*.example", "prefix.*", "*").
func newByName[T any](names map[string]T) byName[T] {
	index := byName[T]{exact: map[string]T{}, suffix: map[string]T{}, prefix: map[string]T{}}
	for name, value := range names {
		name = plainName(name)
		switch {
		case name == "*":
			index.rest = value
		case strings.HasPrefix(name, "*"):
			index.suffix[name[1:]] = value
		case strings.HasSuffix(name, "*"):
			index.prefix[name[:len(name)-1]] = value
		default:
			index.exact[name] = value
		}
	}
	return index
}

// plainName is the one spelling of a server name.
func plainName(name string) string { return strings.TrimSuffix(strings.ToLower(name), ".") }

// find returns what belongs to a name, in whatever spelling.
func (b *byName[T]) find(name string) T {
	name = plainName(name)
	if found, ok := b.exact[name]; ok {
		return found
	}
	if i := strings.IndexByte(name, '.'); i > 0 {
		if found, ok := b.suffix[name[i:]]; ok {
			return found
		}
		if found, ok := b.prefix[name[:strings.LastIndexByte(name, '.')+1]]; ok {
			return found
		}
	}
	return b.rest
}

// findDeep is find for conditions on server names: their wildcards stand for any number of labels, and of several that fit
// the longest counts.
func (b *byName[T]) findDeep(name string) T {
	name = plainName(name)
	if found, ok := b.exact[name]; ok {
		return found
	}
	for i := range len(name) {
		if name[i] == '.' && i > 0 {
			if found, ok := b.suffix[name[i:]]; ok {
				return found
			}
		}
	}
	for i := len(name) - 1; i > 0; i-- {
		if name[i] == '.' {
			if found, ok := b.prefix[name[:i+1]]; ok {
				return found
			}
		}
	}
	return b.rest
}
