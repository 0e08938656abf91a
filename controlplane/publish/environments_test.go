package publish

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/fleet"
	"github.com/keepgate/keepgate/controlplane/publish/facts"
	"github.com/keepgate/keepgate/controlplane/publish/selection"
	"github.com/keepgate/keepgate/controlplane/publish/versions"
	"github.com/keepgate/keepgate/controlplane/publish/wire"
	"github.com/keepgate/keepgate/controlplane/record"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/configset"
)

func (e *env) environment(body string) {
	e.t.Helper()
	_, err := e.catalog.Insert(e.t.Context(), catalog.Address{Table: "environments"}, e.doc(body))
	e.must(err)
	e.feed.Wake()
}

// of is the newest version of an environment.
func (e *env) of(environment string) *versions.Version {
	e.t.Helper()
	e.caughtUp()
	found := e.publisher.environments.Of(environment)
	if found == nil {
		e.t.Fatalf("there is no environment %q", environment)
	}
	v, _ := found.Newest()
	return v
}

// Every table whose rows travel has a rule, every kind of credential a plugin that checks it, and every plugin that knows
// consumers is known to the rules: what is added later cannot be forgotten.
func TestRulesKnowWhatTravels(t *testing.T) {
	t.Parallel()
	ruled := append([]string{
		"services", "routes", "plugins", "consumers", "upstreams", "targets", "certificates", "snis", "ca_certificates", "consumer_groups",
		"consumer_group_consumers", "acls", "key_value_maps", "key_value_entries", "vaults", "cache_purges",
	}, selection.CredentialTables()...)
	checked := map[string]bool{}
	for _, name := range testSchema().Plugins() {
		if table := facts.Checks(name); table != "" {
			checked[table] = true
		}
		known, _ := testSchema().Plugin(name)
		if known.Config.Descriptor().Fields().ByName("anonymous") != nil && facts.Checks(name) == "" {
			t.Errorf("plugin %s tells consumers apart, and no credentials are known that it checks", name)
		}
	}
	for _, entity := range testSchema().Entities() {
		if !entity.Travels() {
			continue
		}
		if !slices.Contains(ruled, entity.Table) {
			t.Errorf("no rule says which environment gets %s", entity.Table)
		}
		if slices.Contains(selection.CredentialTables(), entity.Table) != checked[entity.Table] {
			t.Errorf("%s: checked by some plugin is %v", entity.Table, checked[entity.Table])
		}
	}
}

// life is a random history of workspaces, environments and entities.
type life struct {
	*env
	random *rand.Rand
	names  int
	ids    map[string][]string // keys by table
}

func (l *life) tags() string {
	return []string{`null`, `[]`, `["a"]`, `["b"]`, `["a","b"]`, `["x"]`}[l.random.IntN(6)]
}

func (l *life) pick(table string) string {
	if len(l.ids[table]) == 0 {
		return ""
	}
	return l.ids[table][l.random.IntN(len(l.ids[table]))]
}

func (l *life) step() {
	l.names++
	name := fmt.Sprint("n", l.names)
	made := func(table, key string) { l.ids[table] = append(l.ids[table], key) }
	switch l.random.IntN(17) {
	case 0:
		l.environment(fmt.Sprintf(`{"name":%q,"select_tags":%s}`, name, l.tags()))
		made("environments", name)
	case 1:
		if key := l.pick("environments"); key != "" {
			l.update("environments", key, fmt.Sprintf(`{"select_tags":%s}`, l.tags()))
		}
	case 2, 3:
		l.insert("services", fmt.Sprintf(`{"name":%q,"host":%q,"tags":%s}`, name, []string{"up", "elsewhere"}[l.random.IntN(2)], l.tags()))
		made("services", name)
	case 4, 5:
		if key := l.pick("services"); key != "" {
			l.insertBelow("services", key, "routes", fmt.Sprintf(`{"name":%q,"paths":["/"],"tags":%s}`, name, l.tags()))
			made("routes", name)
		}
	case 6, 7:
		l.insert("consumers", fmt.Sprintf(`{"username":%q,"tags":%s}`, name, l.tags()))
		l.insertBelow("consumers", name, "keyauth_credentials", fmt.Sprintf(`{"key":%q}`, name))
		made("consumers", name)
	case 8:
		if key := l.pick("routes"); key != "" {
			l.insertBelow("routes", key, "plugins", fmt.Sprintf(`{"name":"key-auth","instance_name":%q,"tags":%s}`, name, l.tags()))
			made("routes-with-plugins", key)
			l.ids["routes"] = slices.DeleteFunc(l.ids["routes"], func(other string) bool { return other == key })
		}
	case 9:
		if l.pick("upstreams") == "" {
			l.insert("upstreams", fmt.Sprintf(`{"name":"up","tags":%s}`, l.tags()))
			made("upstreams", "up")
		}
	case 10, 11:
		if key := l.pick("routes-with-plugins"); key != "" {
			l.insertBelow("routes", key, "plugins", fmt.Sprintf(`{"name":"kvm-lookup","instance_name":%q,"config":{"map":"m","header":"X-A","key_name":"k"}}`, name))
			l.ids["routes-with-plugins"] = slices.DeleteFunc(l.ids["routes-with-plugins"], func(other string) bool { return other == key })
		}
	case 12:
		at, key := []string{"environments", "services", "routes"}[l.random.IntN(3)], ""
		if key = l.pick(at); key == "" || len(l.ids["key_value_maps-"+at+key]) > 0 {
			return
		}
		l.insertBelow(at, key, "key_value_maps", `{"name":"m"}`)
		made("key_value_maps-"+at+key, "m")
		of, err := l.catalog.Get(l.t.Context(), catalog.Address{Table: "key_value_maps", Workspace: l.ws, Key: "m", Parent: &catalog.Parent{Table: at, Key: key}})
		l.must(err)
		l.insertBelow("key_value_maps", of.(*configv1.KeyValueMap).GetId(), "key_value_entries", `{"key":"k","value":"v"}`)
	default:
		table := []string{"services", "routes", "consumers", "upstreams", "environments"}[l.random.IntN(5)]
		key := l.pick(table)
		switch {
		case key == "":
		case l.random.IntN(3) > 0:
			l.update(table, key, fmt.Sprintf(`{"tags":%s}`, l.tags()))
		case table == "services": // its routes would have to go first
		default:
			l.delete(table, key)
			l.ids[table] = slices.DeleteFunc(l.ids[table], func(other string) bool { return other == key })
		}
	}
}

// Nodes that follow in other steps, and one that reads the whole, agree on every environment to the byte.
func TestNodesAgreeOnEveryEnvironment(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			l := &life{newEnv(t), rand.New(rand.NewPCG(seed, 3)), 0, map[string][]string{}}
			nodes := []*neighbour{l.neighbour(5 * time.Millisecond), l.neighbour(40 * time.Millisecond)}
			contents := map[string]configset.Hash{}
			for range 4 {
				for range 8 {
					l.step()
				}
				whole := New(l.store, l.feed, l.catalog, l.fleet, testSchema(), slog.New(slog.DiscardHandler))
				l.must(whole.load(t.Context()))
				for _, n := range nodes {
					n.caughtUp(l.env)
					if diff := cmp.Diff(whole.Environments(), n.publisher.Environments()); diff != "" {
						t.Fatalf("environments (-whole +followed):\n%s", diff)
					}
					for _, name := range whole.Environments() {
						want, _ := whole.environments.Of(name).Newest()
						at := fmt.Sprint(name, " ", want.Number)
						if before, known := contents[at]; known && before != want.Set.Hash() {
							t.Fatalf("version %s has two contents", at)
						}
						contents[at] = want.Set.Hash()
						got, _ := n.publisher.environments.Of(name).Newest()
						if !want.Same(got) {
							t.Fatalf("%s: reading the whole leads to version %d, following to %d; same content: %v, emptied: %v and %v",
								name, want.Number, got.Number, want.Set.Hash() == got.Set.Hash(), want.Emptied, got.Emptied)
						}
						theirs, err := got.Snapshot()
						l.must(err)
						mine, err := want.Snapshot()
						l.must(err)
						if diff := cmp.Diff(mine, theirs, protocmp.Transform()); diff != "" {
							t.Fatalf("%s: nodes send other bytes:\n%s", name, diff)
						}
						refersToWhatIsThere(t, l.env, name, want.Set)
					}
				}
			}
		})
	}
}

// refersToWhatIsThere checks that no foreign key of an entity leads out of the set.
func refersToWhatIsThere(t *testing.T, e *env, name string, set configset.Set) {
	t.Helper()
	for entry := range set.All() {
		known, ok := testSchema().Entity(entry.Kind)
		if !ok {
			continue
		}
		row, err := e.store.Get(t.Context(), entry.Kind, e.ws, entry.ID)
		e.must(err)
		for _, f := range known.Foreign {
			id := row.Foreign[f.Field.Name]
			switch {
			case id == "":
			case f.Table == "environments":
				of, err := e.catalog.Get(t.Context(), catalog.Address{Table: "environments", Key: id})
				e.must(err)
				if is := of.(*configv1.Environment).GetName(); is != name {
					t.Errorf("%s/%s is for environment %s, and %s holds it", entry.Kind, entry.ID, is, name)
				}
			default:
				if _, there := set.Get(f.Table, id); !there {
					t.Errorf("%s/%s refers to %s/%s, which is not there", entry.Kind, entry.ID, f.Table, id)
				}
			}
		}
	}
}

// An environment is empty and means it where others have services or routes: then it was told to select none.
func TestAnEnvironmentThatSelectsNothingMeansIt(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.environment(`{"name":"prod","select_tags":["prod"]}`)
	e.run()
	if v := e.of("prod"); !bare(v.Set) || v.Emptied {
		t.Error("in a new database an empty environment says that it means it")
	}
	e.insert("services", `{"name":"s","host":"h","tags":["prod"]}`)
	if v := e.of("prod"); bare(v.Set) || v.Emptied {
		t.Error("an environment with a service is called empty")
	}
	e.update("services", "s", `{"tags":["staging"]}`)
	v := e.of("prod")
	if !bare(v.Set) || !v.Emptied || e.of(wire.DefaultEnvironment).Emptied {
		t.Error("an environment whose last service went to others does not say that it means it")
	}
	e.again()
	e.run()
	if again := e.of("prod"); !again.Same(v) {
		t.Error("a restart says something else")
	}
}

// Another environment's change leaves an environment's content, and what was encoded of its history, as it is.
func TestAnEnvironmentRemembersItsOwnVersionsAlone(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.environment(`{"name":"prod","select_tags":["prod"]}`)
	e.insert("services", `{"name":"s","host":"h","tags":["prod"]}`)
	e.run()
	before := e.of("prod")
	remembers := func() uint64 {
		lag, _ := e.publisher.Lag("prod", fleet.Held{})
		return lag.Versions
	}
	remembered := remembers()
	for i := range 5 {
		e.insert("services", fmt.Sprintf(`{"name":"other%d","host":"h","tags":["staging"]}`, i))
	}
	after := e.of("prod")
	if after.Set.Hash() != before.Set.Hash() || remembers() != remembered {
		t.Error("it has other content, or remembers versions that are none of its own")
	}
	if !after.Holds(before.Position()) {
		t.Error("who holds the version before would be sent something")
	}
	e.update("services", "other0", `{"tags":["prod"]}`)
	other := e.of("prod")
	e.update("environments", "prod", `{"select_tags":["staging"]}`)
	if selected := e.of("prod"); selected.Number <= other.Number || other.Number <= after.Number || selected.Set.Hash() == other.Set.Hash() {
		t.Errorf("versions %d, %d and %d of contents that differ", after.Number, other.Number, selected.Number)
	}
	e.environment(`{"name":"sales","workspaces":[]}`)
	e.insert("services", `{"name":"last","host":"h"}`)
	if sales, standard := e.of("sales"), e.of(wire.DefaultEnvironment); sales.Number >= standard.Number {
		t.Errorf("an entity of another workspace makes version %d of %d", sales.Number, standard.Number)
	}
}

// A row that cannot be read at all stays where it was.
func TestARowThatCannotBeReadStaysWhereItWas(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.environment(`{"name":"prod","select_tags":["prod"]}`)
	e.environment(`{"name":"staging","select_tags":["staging"]}`)
	e.insert("services", `{"name":"s","host":"up","tags":["prod"]}`)
	e.insert("upstreams", `{"name":"up"}`)
	e.run()
	before := e.of("prod")
	if count(before.Set, "upstreams") != 1 {
		t.Fatal("the upstream of its service is not there")
	}
	row, err := e.store.Get(t.Context(), "services", e.ws, id(e, before.Set, "services"))
	e.must(err)
	row.Body = []byte(`{"host":7}`)
	_, err = e.store.Apply(t.Context(), record.Batch{Changes: []record.Change{{Row: row, Expect: row.Generation}}})
	e.must(err)
	e.feed.Wake()
	e.eventually("the row is kept", func() bool { return e.publisher.Kept().Rows == 1 })
	v := e.of("prod")
	if entry, found := v.Set.Get("services", row.ID); !found || !entry.Kept || count(v.Set, "upstreams") != 1 {
		t.Errorf("the row is there: %v, kept: %v, with its upstream: %v", found, entry.Kept, count(v.Set, "upstreams") == 1)
	}
	if count(e.of("staging").Set, "services") != 0 {
		t.Error("another environment gets a row that cannot be read")
	}
	row.Generation, row.Tags = row.Generation+1, []string{"staging"} // tags stand beside what cannot be read
	stored, err := e.store.Get(t.Context(), "services", e.ws, row.ID)
	e.must(err)
	_, err = e.store.Apply(t.Context(), record.Batch{Changes: []record.Change{{Row: row, Expect: stored.Generation}}})
	e.must(err)
	e.feed.Wake()
	e.eventually("it moves with its tags", func() bool {
		return count(e.of("staging").Set, "services") == 1 && count(e.of("prod").Set, "services") == 0
	})
}
