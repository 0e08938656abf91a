package selection_test

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/keepgate/keepgate/controlplane/publish/selection"
)

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
		for i := range rapid.IntRange(1, 8).Draw(t, "updates") {
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
			for _, flip := range s.Update(pointers(slices.Collect(maps.Values(puts))), deletes) {
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
			fresh.Update(pointers(slices.Collect(maps.Values(rows))), nil)
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
		s.Update(pointers(step.puts), step.deletes)
		if s.Held(0, service.Ref) != step.held || s.Held(1, service.Ref) || s.Held(0, upstream.Ref) != (step.what == "the upstream is nobody's own") {
			t.Errorf("%s: prod holds the service: %v, the upstream: %v", step.what, s.Held(0, service.Ref), s.Held(0, upstream.Ref))
		}
		if (s.Why(0, service.Ref) != "") != step.held {
			t.Errorf("%s: why is %q", step.what, s.Why(0, service.Ref))
		}
	}
}

// Certificates are often kept in the default workspace, for routes of others that list no names: they are shown for any
// name. Other workspaces' certificates reach no environment that selects by tags for that.
func TestARouteWithoutNamesIsAskedUnderAny(t *testing.T) {
	t.Parallel()
	environments := []selection.Environment{{Name: "all"}, {Name: "prod", Tags: []string{"prod"}}, {Name: "team", Workspaces: []string{"team"}}}
	rows := []selection.Row{
		{Ref: selection.Ref{Table: "routes", ID: "r"}, Workspace: "team", Tags: []string{"prod"}, TLS: true},
	}
	for _, workspace := range []string{"home", "team", "other"} {
		rows = append(rows, selection.Row{Ref: selection.Ref{Table: "certificates", ID: workspace}, Workspace: workspace},
			selection.Row{Ref: selection.Ref{Table: "snis", ID: workspace}, Workspace: workspace, Name: workspace + ".example", Parents: []selection.Ref{{Table: "certificates", ID: workspace}}})
	}
	s := selection.New(environments, "home")
	s.Update(pointers(rows[1:]), nil)
	s.Update(pointers(rows[:1]), nil)
	want := map[string][]string{"all": {"home", "team", "other"}, "prod": {"home", "team"}, "team": {"team"}}
	for i, e := range environments {
		for _, workspace := range []string{"home", "team", "other"} {
			if got := s.Held(i, selection.Ref{Table: "certificates", ID: workspace}); got != slices.Contains(want[e.Name], workspace) {
				t.Errorf("%s holds the certificate of %s: %v", e.Name, workspace, got)
			}
		}
	}
	s.Update(nil, []selection.Ref{rows[0].Ref})
	for _, row := range rows[1:] {
		if s.Held(0, row.Ref) {
			t.Errorf("%v is held without a route", row.Ref)
		}
	}
}
