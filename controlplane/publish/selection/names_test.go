package selection_test

import (
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/publish/selection"
)

// meets tries all names over a small alphabet.
func meets(sni, pattern string) bool {
	for _, host := range hosts() {
		if fits(host, sni, 1) && fits(host, pattern, 9) {
			return true
		}
	}
	return false
}

func fits(host, pattern string, most int) bool {
	labels := func(rest string) bool { return rest != "" && strings.Count(rest, ".") < most }
	if rest, wild := strings.CutPrefix(pattern, "*"); wild {
		star, found := strings.CutSuffix(host, rest)
		return found && labels(star)
	}
	if rest, wild := strings.CutSuffix(pattern, "*"); wild {
		star, found := strings.CutPrefix(host, rest)
		return found && labels(star)
	}
	return host == pattern
}

func hosts() (all []string) {
	before := []string{""}
	for range 4 {
		var next []string
		for _, b := range before {
			for _, label := range []string{"a", "b", "c"} {
				next = append(next, strings.TrimPrefix(b+"."+label, "."))
			}
		}
		all, before = append(all, next...), next
	}
	return all
}

func patterns() []string {
	return []string{"a", "a.b", "b.b", "a.b.c", "*.b", "*.c", "*.b.c", "a.*", "b.*", "a.b.*", "*.a.b", "b.a.*", "c"}
}

func TestNamesMeet(t *testing.T) {
	t.Parallel()
	for _, sni := range patterns() {
		for _, host := range append(patterns(), "*") {
			ref := selection.Ref{Table: "snis", ID: "s"}
			for _, first := range []bool{true, false} { // either may come first
				rows := []selection.Row{
					{Ref: selection.Ref{Table: "certificates", ID: "c"}, Workspace: "w"},
					{Ref: ref, Workspace: "w", Name: sni, Parents: []selection.Ref{{Table: "certificates", ID: "c"}}},
				}
				route := []selection.Row{{Ref: selection.Ref{Table: "routes", ID: "r"}, Workspace: "v", TLS: true, Names: []string{host}}}
				s := selection.New([]selection.Environment{{Name: "e"}}, "")
				if first {
					rows, route = route, rows
				}
				s.Update(pointers(rows), nil)
				s.Update(pointers(route), nil)
				if want := host == "*" || meets(sni, host); s.Held(0, ref) != want {
					t.Errorf("a certificate for %q with a route for %q: held is %v", sni, host, !want)
				}
			}
		}
	}
}
