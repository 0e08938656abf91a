package selection

import "strings"

// everyName is the server name whose certificate is shown where no other has the name.
const everyName = "*"

// wantsName reports whether a held route may be asked for under a server name.
func (s *Selection) wantsName(r *Row, e int) bool {
	if r.Name == everyName {
		return s.needed(e, need{needsTLS, "", ""})
	}
	// Routes are asked under any name, whatever workspace that is of. Names of the default workspace serve all, as do those of an
	// environment that selects by no tags; names of other workspaces go with the routes of these.
	if s.needed(e, need{needsEveryName, r.Workspace, ""}) {
		return true
	}
	if (r.Workspace == s.home || s.environments[e].Tags == nil) && s.needed(e, need{needsAnyName, "", ""}) {
		return true
	}
	if strings.Contains(r.Name, "*") { // there are few
		for n := range s.needs {
			if n.what == needsName && meet(r.Name, n.a) && s.needed(e, n) {
				return true
			}
		}
		return false
	}
	for pattern := range wider(r.Name) {
		if s.needed(e, need{needsName, pattern, ""}) {
			return true
		}
	}
	return false
}

// enqueueFitting has the server names found again that a route's host or server name fits.
func (s *Selection) enqueueFitting(pattern string) {
	if strings.Contains(pattern, "*") { // there are few
		for at, nodes := range s.index.named {
			if at.table == tableSnis && meet(at.text, pattern) {
				for n := range nodes {
					s.enqueue(n)
				}
			}
		}
		return
	}
	for _, text := range [...]string{pattern, parentOf(pattern), prefixOf(pattern)} {
		for n := range s.index.named[name{tableSnis, "", text}] {
			s.enqueue(n)
		}
	}
}

// parentOf is the server name with a wildcard for the first label, which stands for one label alone.
func parentOf(host string) string {
	if i := strings.IndexByte(host, '.'); i > 0 {
		return "*" + host[i:]
	}
	return host
}

// prefixOf is the server name with a wildcard for the last label.
func prefixOf(host string) string {
	if i := strings.LastIndexByte(host, '.'); i > 0 {
		return host[:i+1] + "*"
	}
	return host
}

// wider yields the hosts of routes that a name without a wildcard meets. Their wildcards stand for any number of labels.
func wider(text string) func(func(string) bool) {
	return func(yield func(string) bool) {
		if !yield(text) || !yield(everyName) {
			return
		}
		for i := range len(text) {
			if text[i] == '.' && i > 0 && (!yield("*"+text[i:]) || !yield(text[:i+1]+"*")) {
				return
			}
		}
	}
}

// meet reports whether there is a host that both a server name, whose wildcard stands for one label, and a route's host
// or server name, whose wildcard stands for any number of them, fit.
func meet(sni, pattern string) bool {
	if pattern == everyName {
		return true
	}
	open, wild := strings.CutPrefix(pattern, "*")
	start, long := strings.CutSuffix(pattern, "*")
	switch {
	case !strings.Contains(sni, "*") && wild:
		return len(sni) > len(open) && strings.HasSuffix(sni, open)
	case !strings.Contains(sni, "*") && long:
		return len(sni) > len(start) && strings.HasPrefix(sni, start)
	case !strings.Contains(sni, "*"):
		return sni == pattern
	case strings.HasPrefix(sni, "*") && wild: // *.b.c and *.c
		return strings.HasSuffix(sni[1:], open)
	case strings.HasPrefix(sni, "*") && long: // *.b.c and x.b.*
		_, rest, more := strings.Cut(start, ".")
		return more && len(sni) > 2+len(rest) && strings.HasPrefix(sni[2:], rest)
	case strings.HasPrefix(sni, "*"):
		return parentOf(pattern) == sni
	case long: // a.b.* and a.*
		return strings.HasPrefix(sni[:len(sni)-1], start)
	case wild: // a.b.* and *.b.c
		i := strings.LastIndexByte(open, '.')
		return i <= 0 || strings.HasSuffix(sni[:len(sni)-2], open[:i])
	}
	return prefixOf(pattern) == sni
}
