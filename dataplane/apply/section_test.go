package apply

import (
	"log/slog"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/localstore"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/configset"
	"github.com/keepgate/keepgate/shared/localkeys"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
)

func encoded(t *testing.T, kind, id string, m proto.Message) configset.Entry {
	t.Helper()
	body, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return configset.Entry{Kind: kind, ID: id, Body: body}
}

// Each entity rests under the key of its kind; maps of an environment and their entries under the environment's.
func TestSections(t *testing.T) {
	t.Parallel()
	ref := func(id string) *configv1.Ref { return &configv1.Ref{Id: id} }
	text := func(s string) *string { return &s }
	of := map[string]*configv1.KeyValueMap{
		"organisation": {}, "environment": {Environment: ref("e")}, "service": {Service: ref("s")}, "route": {Route: ref("r")}, "plugin": {Plugin: ref("p")},
	}
	var set configset.Set
	want := map[string]localkeys.Section{}
	put := func(e configset.Entry, under localkeys.Section) {
		set = set.Put(e)
		want[e.Kind+"/"+e.ID] = under
	}
	for scope, m := range of {
		under := localkeys.Section{Class: localkeys.KVM}
		if scope == "environment" {
			under.Scope = "prod"
		}
		m.Id, m.Name = text(scope), text("limits")
		put(encoded(t, tableMaps, scope, m), under)
		put(encoded(t, tableEntries, scope, &configv1.KeyValueEntry{Id: text(scope), Map: ref(scope), Key: text("k"), Value: text("v")}), under)
	}
	put(encoded(t, tableEntries, "orphan", &configv1.KeyValueEntry{Map: ref("gone")}), localkeys.Section{Class: localkeys.KVM})
	put(configset.Entry{Kind: tableEntries, ID: "kept", Kept: true}, localkeys.Section{Class: localkeys.KVM})
	put(configset.Entry{Kind: tableEntries, ID: "broken", Body: []byte{0x2a, 0x7f, 1}}, localkeys.Section{Class: localkeys.KVM})
	put(encoded(t, "services", "s", &configv1.Service{}), localkeys.Section{Class: localkeys.Contract})
	put(encoded(t, "vaults", "v", &configv1.Vault{}), localkeys.Section{Class: localkeys.KMS})
	put(encoded(t, "jwt_secrets", "j", &configv1.JwtSecret{}), localkeys.Section{Class: localkeys.KMS})
	put(configset.Entry{Kind: "what comes later", ID: "x"}, localkeys.Section{Class: localkeys.KMS})

	k := NewStoreKeeper(nil, schema.New(plugins.All()), "prod", slog.New(slog.DiscardHandler))
	for entry := range k.stored(set) {
		at := entry.Kind + "/" + entry.ID
		if got := (localkeys.Section{Class: entry.Class, Scope: entry.Scope}); got != want[at] {
			t.Errorf("%s rests under %v, not %v", at, got, want[at])
		}
		delete(want, at)
	}
	if len(want) > 0 {
		t.Errorf("%v are not stored", want)
	}
}

// The numbers are those of the messages.
func TestFieldsOfMaps(t *testing.T) {
	t.Parallel()
	for field, number := range map[string]int{"map": mapField} {
		if got := (&configv1.KeyValueEntry{}).ProtoReflect().Descriptor().Fields().ByTextName(field).Number(); int(got) != number {
			t.Errorf("%s has the number %d", field, got)
		}
	}
	if got := (&configv1.KeyValueMap{}).ProtoReflect().Descriptor().Fields().ByName("environment").Number(); got != environmentField {
		t.Errorf("environment has the number %d", got)
	}
	if got := (&configv1.Ref{}).ProtoReflect().Descriptor().Fields().ByName("id").Number(); got != idField {
		t.Errorf("id has the number %d", got)
	}
}

// A changed entry goes into the section of its map, in the journal too, and a restart finds it there.
func TestEntriesOfAnEnvironmentOutliveARestart(t *testing.T) {
	t.Parallel()
	k := newKept(t)
	id, e := "m", "e"
	set := configset.Set{}.Put(encoded(t, tableMaps, id, &configv1.KeyValueMap{Id: &id, Environment: &configv1.Ref{Id: e}}))
	k.must(k.Replace(State{Epoch: 1, Version: 1, Set: set}))
	secret := "CANARY"
	entry := encoded(t, tableEntries, "x", &configv1.KeyValueEntry{Map: &configv1.Ref{Id: id}, Value: &secret})
	next := State{Epoch: 1, Version: 2, Set: set.Put(entry)}
	k.must(k.Append(next, configset.Delta{Puts: []configset.Entry{entry}}))
	k.reopens(next)
}

var _ Store = (*localstore.Store)(nil)
