package selection_test

import (
	"slices"
	"testing"

	"github.com/keepgate/keepgate/controlplane/publish/selection"
)

func ref(table, id string) selection.Ref { return selection.Ref{Table: table, ID: id} }

// Maps and vaults come and go with what refers to them, whichever of them changes; a plugin's map with that plugin's words alone.
func TestMapsAndVaultsFollowWhatRefersToThem(t *testing.T) {
	t.Parallel()
	environments := []selection.Environment{{Name: "prod", ID: "p", Tags: []string{"prod"}}, {Name: "staging", ID: "s", Tags: []string{"staging"}}}
	route := selection.Row{Ref: ref("routes", "r"), Workspace: "w", Tags: []string{"prod"}}
	plugin := selection.Row{Ref: ref("plugins", "p"), Workspace: "w", Parents: []selection.Ref{route.Ref}}
	other := selection.Row{Ref: ref("plugins", "q"), Workspace: "w", Parents: []selection.Ref{route.Ref}, Maps: []string{"limits"}}
	foreign := selection.Row{Ref: ref("plugins", "f"), Workspace: "v", Maps: []string{"limits"}, Vaults: []string{"hcv"}}
	mapped := func(id, environment string, parents ...selection.Ref) selection.Row {
		return selection.Row{Ref: ref("key_value_maps", id), Workspace: "w", Name: "limits", Environment: environment, Parents: parents}
	}
	rows := []selection.Row{
		route, plugin, foreign, mapped("everywhere", ""), mapped("here", "p"), mapped("there", "s"), mapped("of the route", "", route.Ref),
		mapped("its own", "", plugin.Ref),
		{Ref: ref("key_value_entries", "entry"), Workspace: "w", Parents: []selection.Ref{ref("key_value_maps", "its own")}},
		{Ref: ref("vaults", "vault"), Workspace: "w", Name: "hcv"},
	}
	with := func(change func(*selection.Row)) selection.Row {
		changed := plugin
		change(&changed)
		return changed
	}
	all := []string{"entry", "everywhere", "here", "its own", "of the route"}
	steps := []struct {
		what string
		put  []selection.Row
		gone []selection.Ref
		want []string
	}{
		{"nothing refers", rows, nil, nil},
		{"the plugin refers", []selection.Row{with(func(r *selection.Row) { r.Maps = []string{"limits"} })}, nil, all},
		{"another does too", []selection.Row{other}, nil, all},
		{"the other alone", []selection.Row{plugin}, nil, []string{"everywhere", "here", "of the route"}},
		{"nobody knows what the plugin refers to", []selection.Row{with(func(r *selection.Row) { r.Unread = true })}, nil, slices.Sorted(slices.Values(append(all, "vault")))},
		{"to another map", []selection.Row{with(func(r *selection.Row) { r.Maps = []string{"elsewhere"} })}, nil, []string{"everywhere", "here", "of the route"}},
		{"the other is gone", nil, []selection.Ref{other.Ref}, nil},
		{"to a vault", []selection.Row{with(func(r *selection.Row) { r.Vaults = []string{"hcv"} })}, nil, []string{"vault"}},
		{"the vault has another prefix", []selection.Row{{Ref: ref("vaults", "vault"), Workspace: "w", Name: "other"}}, nil, nil},
	}
	s := selection.New(environments, "w")
	for _, step := range steps {
		s.Update(pointers(step.put), step.gone)
		var got []string
		for _, table := range []string{"key_value_maps", "key_value_entries", "vaults"} {
			for _, row := range s.Rows(0, table) {
				got = append(got, row.ID)
				if s.Why(0, row.Ref) == "" {
					t.Errorf("%s: nothing says why %v is held", step.what, row.Ref)
				}
			}
		}
		if slices.Sort(got); !slices.Equal(got, step.want) {
			t.Errorf("%s: prod holds %v, not %v", step.what, got, step.want)
		}
		if there := len(s.Rows(1, "")); there != 0 {
			t.Errorf("%s: staging holds %d rows", step.what, there)
		}
	}
}
