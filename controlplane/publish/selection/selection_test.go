package selection_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/keepgate/keepgate/controlplane/publish/selection"
)

// oracle is the rules, each read off the package's doc: it looks at all rows until nothing more is held.
type oracle struct {
	environment selection.Environment
	all         []selection.Environment
	home        string
	rows        map[selection.Ref]selection.Row
	held        map[selection.Ref]bool
}

func (o *oracle) covers(e selection.Environment, workspace string) bool {
	return e.Workspaces == nil || workspace == "" || slices.Contains(e.Workspaces, workspace)
}

func (o *oracle) shares(a, b []string) bool {
	return slices.ContainsFunc(a, func(tag string) bool { return slices.Contains(b, tag) })
}

// may: of its workspaces, not another's by its tags, and so is all that it refers to.
func (o *oracle) may(r selection.Row) bool {
	if !o.covers(o.environment, r.Workspace) {
		return false
	}
	others := slices.ContainsFunc(o.all, func(e selection.Environment) bool { return o.covers(e, r.Workspace) && o.shares(r.Tags, e.Tags) })
	if others && o.environment.Tags != nil && !o.shares(r.Tags, o.environment.Tags) && r.Table != "ca_certificates" {
		return false
	}
	for _, ref := range r.Parents {
		if parent, found := o.rows[ref]; !found || !o.may(parent) {
			return false
		}
	}
	if r.Table == "services" {
		for _, u := range o.rows {
			if u.Table == "upstreams" && u.Workspace == r.Workspace && u.Name == r.Host && !o.may(u) {
				return false
			}
		}
	}
	return true
}

func (o *oracle) selects(r selection.Row) bool {
	return o.environment.Tags == nil || o.shares(r.Tags, o.environment.Tags)
}

func (o *oracle) some(holds func(r selection.Row) bool) bool {
	for ref := range o.held {
		if holds(o.rows[ref]) {
			return true
		}
	}
	return false
}

func parent(r selection.Row, table string) string {
	for _, p := range r.Parents {
		if p.Table == table {
			return p.ID
		}
	}
	return ""
}

func impersonal(r selection.Row) bool {
	return r.Table == "plugins" && parent(r, "consumers") == "" && parent(r, "consumer_groups") == ""
}

func (o *oracle) routed(workspace string) bool {
	return o.some(func(r selection.Row) bool { return r.Table == "routes" && r.Workspace == workspace })
}

func (o *oracle) checked(c selection.Row) bool {
	return o.routed(c.Workspace) && o.some(func(p selection.Row) bool { return impersonal(p) && p.Workspace == c.Workspace && p.Checks == c.Table })
}

func (o *oracle) wants(r selection.Row) bool {
	parents := !slices.ContainsFunc(r.Parents, func(ref selection.Ref) bool { return !o.held[ref] })
	owned := o.held[selection.Ref{Table: "consumers", ID: parent(r, "consumers")}]
	switch r.Table {
	case "services":
		return o.selects(r) || o.some(func(x selection.Row) bool { return x.Table == "routes" && parent(x, "services") == r.ID })
	case "routes":
		service, found := o.rows[selection.Ref{Table: "services", ID: parent(r, "services")}]
		return o.selects(r) || found && o.selects(service)
	case "plugins":
		if len(r.Parents) > 0 {
			return parents
		}
		return o.routed(r.Workspace) || r.Workspace == o.home && (o.environment.Tags == nil || o.some(func(x selection.Row) bool { return x.Table == "routes" }))
	case "consumers":
		for _, c := range o.rows {
			if slices.Contains(selection.CredentialTables(), c.Table) && parent(c, "consumers") == r.ID && o.may(c) && o.checked(c) {
				return true
			}
		}
		return o.some(func(p selection.Row) bool {
			if !impersonal(p) || p.Workspace != r.Workspace {
				return false
			}
			named := slices.Contains(p.Consumers, r.ID) || r.Name != "" && slices.Contains(p.Consumers, r.Name)
			return named || p.Finds && o.routed(r.Workspace)
		})
	case "acls", "consumer_group_consumers":
		return owned
	case "consumer_groups":
		return o.some(func(x selection.Row) bool {
			return x.Table == "consumer_group_consumers" && parent(x, "consumer_groups") == r.ID
		})
	case "upstreams":
		return o.some(func(x selection.Row) bool {
			return x.Table == "services" && x.Workspace == r.Workspace && x.Host == r.Name
		})
	case "targets":
		return parents
	case "snis":
		return o.some(func(x selection.Row) bool {
			if x.Table != "routes" || !x.TLS {
				return false
			}
			if r.Name == "*" || len(x.Names) == 0 && x.Workspace == r.Workspace {
				return true
			}
			return slices.ContainsFunc(x.Names, func(pattern string) bool { return meets(r.Name, pattern) })
		})
	case "certificates":
		return o.some(func(x selection.Row) bool { return parent(x, "certificates") == r.ID })
	case "ca_certificates":
		return o.some(func(x selection.Row) bool {
			return parent(x, "ca_certificates") == r.ID || slices.Contains(x.Authorities, r.ID)
		})
	}
	return owned && o.checked(r)
}

func (o *oracle) solve() map[selection.Ref]bool {
	o.held = map[selection.Ref]bool{}
	for grown := true; grown; {
		grown = false
		for ref, r := range o.rows {
			if !o.held[ref] && o.may(r) && o.wants(r) {
				o.held[ref], grown = true, true
			}
		}
	}
	return o.held
}

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
			s := selection.New([]selection.Environment{{Name: "e"}}, "")
			ref := selection.Ref{Table: "snis", ID: "s"}
			for _, first := range []bool{true, false} { // either may come first
				rows := []selection.Row{
					{Ref: selection.Ref{Table: "certificates", ID: "c"}, Workspace: "w"},
					{Ref: ref, Workspace: "w", Name: sni, Parents: []selection.Ref{{Table: "certificates", ID: "c"}}},
				}
				route := []selection.Row{{Ref: selection.Ref{Table: "routes", ID: "r"}, Workspace: "v", TLS: true, Names: []string{host}}}
				s = selection.New([]selection.Environment{{Name: "e"}}, "")
				if first {
					rows, route = route, rows
				}
				s.Update(rows, nil)
				s.Update(route, nil)
				if want := host == "*" || meets(sni, host); s.Held(0, ref) != want {
					t.Errorf("a certificate for %q with a route for %q: held is %v", sni, host, !want)
				}
			}
		}
	}
}

// world draws rows and environments out of little, so that they have to do with each other.
type world struct{ t *rapid.T }

func (w world) pick(label string, of ...string) string { return rapid.SampledFrom(of).Draw(w.t, label) }

func (w world) some(label string, of ...string) []string {
	picked := rapid.SliceOfNDistinct(rapid.SampledFrom(of), 0, 2, rapid.ID[string]).Draw(w.t, label)
	slices.Sort(picked)
	return picked
}

func (w world) environments() []selection.Environment {
	var list []selection.Environment
	for i := range rapid.IntRange(1, 3).Draw(w.t, "environments") {
		e := selection.Environment{Name: fmt.Sprint("e", i)}
		if rapid.Bool().Draw(w.t, "some workspaces") {
			e.Workspaces = append([]string{}, w.some("workspaces", "w0", "w1")...)
		}
		if rapid.Bool().Draw(w.t, "some tags") {
			e.Tags = append([]string{}, w.some("selected", "t0", "t1")...)
		}
		list = append(list, e)
	}
	return list
}

func tables() []string {
	return append([]string{
		"services", "routes", "plugins", "consumers", "upstreams", "targets", "certificates", "snis", "ca_certificates", "consumer_groups",
		"consumer_group_consumers", "acls",
	}, selection.CredentialTables()...)
}

// any draws one of two rows of each table and workspace.
func (w world) any() selection.Row {
	return w.row(w.pick("table", tables()...), w.pick("workspace", "w0", "w1"), w.pick("row", "0", "1"))
}

func (w world) row(table, workspace, number string) selection.Row {
	if table == "ca_certificates" {
		workspace = ""
	}
	idOf := func(table, number string) string {
		if table == "ca_certificates" {
			return number
		}
		return workspace + "-" + number
	}
	id := func(table string) string { return idOf(table, w.pick("id", "0", "1")) }
	r := selection.Row{Ref: selection.Ref{Table: table, ID: idOf(table, number)}, Workspace: workspace}
	if rapid.IntRange(0, 3).Draw(w.t, "tagged") == 0 {
		r.Tags = w.some("tags", "t0", "t1", "x")
	}
	of := func(optional bool, table string) {
		if !optional || rapid.IntRange(0, 2).Draw(w.t, "refers to "+table) == 0 {
			r.Parents = append(r.Parents, selection.Ref{Table: table, ID: id(table)})
		}
	}
	switch table {
	case "services":
		of(true, "certificates")
		r.Host = w.pick("host", "u0", "u1", "elsewhere")
		r.Authorities = w.some("authorities", "0", "1")
	case "routes":
		of(true, "services")
		r.TLS = rapid.Bool().Draw(w.t, "TLS")
		r.Names = w.some("names", "a.b", "*.b", "c")
	case "plugins":
		for _, table := range []string{"routes", "services", "consumers", "consumer_groups"} {
			of(true, table)
		}
		r.Checks = w.pick("checks", append(selection.CredentialTables(), "", "")...)
		r.Finds = rapid.IntRange(0, 5).Draw(w.t, "finds") == 0
		r.Consumers = w.some("consumers", workspace+"-0", "bob")
		r.Authorities = w.some("authorities", "0", "1")
	case "consumers":
		r.Name = w.pick("name", "", "bob", "alice")
	case "upstreams":
		r.Name = w.pick("name", "u0", "u1")
		of(true, "certificates")
	case "targets":
		of(false, "upstreams")
	case "snis":
		r.Name = w.pick("name", "a.b", "*.b", "c", "*")
		of(false, "certificates")
	case "consumer_group_consumers":
		of(false, "consumers")
		of(false, "consumer_groups")
	case "ca_certificates", "certificates", "consumer_groups":
	default:
		of(false, "consumers")
		if table == "mtls_auth_credentials" {
			of(true, "ca_certificates")
		}
	}
	return r
}

// Over any history, following it, starting from nothing and the rules themselves agree, flips are exactly what changed,
// and what is held never refers to what is not.
func TestFollowingAndStartingAnewAgree(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := world{t}
		environments := w.environments()
		s := selection.New(environments, "w0")
		rows := map[selection.Ref]selection.Row{}
		shown := make([]map[selection.Ref]bool, len(environments))
		for i := range shown {
			shown[i] = map[selection.Ref]bool{}
		}
		for i := range rapid.IntRange(1, 15).Draw(t, "updates") {
			puts, deletes := map[selection.Ref]selection.Row{}, []selection.Ref{}
			if i == 0 { // most there is, so that there is something to refer to
				for _, table := range tables() {
					for _, at := range []string{"w0 0", "w0 1", "w1 0", "w1 1"} {
						r := w.row(table, at[:2], at[3:])
						puts[r.Ref] = r
					}
				}
			}
			for range rapid.IntRange(1, 3).Draw(t, "rows") {
				r := w.any()
				puts[r.Ref] = r
			}
			if rapid.Bool().Draw(t, "deletes") {
				for range 3 {
					ref := w.any().Ref
					if _, put := puts[ref]; !put && !slices.Contains(deletes, ref) {
						deletes = append(deletes, ref)
					}
				}
			}
			maps.Copy(rows, puts)
			for _, ref := range deletes {
				delete(rows, ref)
			}
			for _, flip := range s.Update(slices.Collect(maps.Values(puts)), deletes) {
				if shown[flip.Environment][flip.Ref] == flip.Held {
					t.Fatalf("%v is told twice to be held: %v", flip.Ref, flip.Held)
				}
				if flip.Held {
					shown[flip.Environment][flip.Ref] = true
				} else {
					delete(shown[flip.Environment], flip.Ref)
				}
			}
			fresh := selection.New(environments, "w0")
			fresh.Update(slices.Collect(maps.Values(rows)), nil)
			for i, environment := range environments {
				rules := &oracle{environment: environment, all: environments, home: "w0", rows: rows}
				want := rules.solve()
				for ref, r := range rows {
					if s.Held(i, ref) != want[ref] || fresh.Held(i, ref) != want[ref] || shown[i][ref] != want[ref] {
						t.Fatalf("%s, %v: following says %v, its flips %v, starting anew %v, the rules %v", environment.Name, r, s.Held(i, ref), shown[i][ref], fresh.Held(i, ref), want[ref])
					}
					if want[ref] {
						whole(t, s, i, r)
					}
				}
				if len(shown[i]) != len(want) {
					t.Fatalf("%s: %d held, by the rules %d", environment.Name, len(shown[i]), len(want))
				}
			}
		}
	})
}

// whole checks that nothing a held row refers to is missing.
func whole(t *rapid.T, s *selection.Selection, e int, r selection.Row) {
	for _, ref := range r.Parents {
		if !s.Held(e, ref) {
			t.Fatalf("%v refers to %v, which is not held", r.Ref, ref)
		}
	}
}

// A service whose host names an upstream that is another environment's is left out with it, whichever of them changes.
func TestAServiceGoesWithItsUpstream(t *testing.T) {
	t.Parallel()
	environments := []selection.Environment{{Name: "prod", Tags: []string{"prod"}}, {Name: "staging", Tags: []string{"staging"}}}
	service := selection.Row{Ref: selection.Ref{Table: "services", ID: "s"}, Workspace: "w", Tags: []string{"prod"}, Host: "up"}
	upstream := selection.Row{Ref: selection.Ref{Table: "upstreams", ID: "u"}, Workspace: "w", Tags: []string{"staging"}, Name: "up"}
	elsewhere, both := upstream, upstream
	elsewhere.Name, both.Tags = "elsewhere", nil
	away := service
	away.Host = "backend.example"
	steps := []struct {
		what    string
		puts    []selection.Row
		deletes []selection.Ref
		held    bool
	}{
		{"without an upstream", []selection.Row{service}, nil, true},
		{"the upstream comes", []selection.Row{upstream}, nil, false},
		{"it gets another name", []selection.Row{elsewhere}, nil, true},
		{"it gets the name back", []selection.Row{upstream}, nil, false},
		{"the service has another host", []selection.Row{away}, nil, true},
		{"it has the host again", []selection.Row{service}, nil, false},
		{"the upstream is nobody's own", []selection.Row{both}, nil, true},
		{"it is staging's again", []selection.Row{upstream}, nil, false},
		{"it is deleted", nil, []selection.Ref{upstream.Ref}, true},
	}
	s := selection.New(environments, "w")
	for _, step := range steps {
		s.Update(step.puts, step.deletes)
		if s.Held(0, service.Ref) != step.held || s.Held(1, service.Ref) || s.Held(0, upstream.Ref) != (step.what == "the upstream is nobody's own") {
			t.Errorf("%s: prod holds the service: %v, the upstream: %v", step.what, s.Held(0, service.Ref), s.Held(0, upstream.Ref))
		}
		if (s.Why(0, service.Ref) != "") != step.held {
			t.Errorf("%s: why is %q", step.what, s.Why(0, service.Ref))
		}
	}
}
