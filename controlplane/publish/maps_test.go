package publish

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/publish/versions/versionstest"
	"github.com/keepgate/keepgate/controlplane/publish/wire"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/configset"
)

// mapped is a database with a map and an entry of each scope, each of the name m, and nothing that refers to them.
func mapped(t *testing.T) (e *env, ids map[string]string) {
	t.Helper()
	e, ids = newEnv(t), map[string]string{}
	e.environment(`{"name":"prod","select_tags":["prod"]}`)
	e.insert("services", `{"name":"s","host":"h","tags":["prod"]}`)
	e.insertBelow("services", "s", "routes", `{"name":"r","paths":["/"]}`)
	plugin, err := e.catalog.Insert(e.t.Context(), e.at("plugins", ""), e.doc(`{"name":"http-log","route":{"name":"r"},"config":{"http_endpoint":"http://log.test/"}}`))
	e.must(err)
	ids["http-log"] = plugin.(*configv1.Plugin).GetId()
	for scope, body := range map[string]string{
		"organisation": "", "prod": `,"environment":{"name":"prod"}`, wire.DefaultEnvironment: `,"environment":{"name":"default"}`,
		"service": `,"service":{"name":"s"}`, "route": `,"route":{"name":"r"}`, "plugin": fmt.Sprintf(`,"plugin":{"id":%q}`, ids["http-log"]),
	} {
		m, err := e.catalog.Insert(t.Context(), e.at("key_value_maps", ""), e.doc(`{"name":"m"`+body+`}`))
		e.must(err)
		ids[scope] = m.(*configv1.KeyValueMap).GetId()
		e.insertBelow("key_value_maps", ids[scope], "key_value_entries", `{"key":"k","value":"CANARY `+scope+`"}`)
	}
	return e, ids
}

// values are those of the entries in a set, in order; "kept" for those that do not open.
func values(t *testing.T, set configset.Set) (found []string) {
	t.Helper()
	for entry := range set.All() {
		if entry.Kind != "key_value_entries" {
			continue
		}
		var m configv1.KeyValueEntry
		if err := proto.Unmarshal(entry.Body, &m); err != nil {
			t.Fatal(err)
		}
		if entry.Kept {
			found = append(found, "kept "+m.GetKey()+m.GetValue())
			continue
		}
		found = append(found, m.GetValue())
	}
	slices.Sort(found)
	return found
}

func wantValues(t *testing.T, e *env, what, environment string, want ...string) {
	t.Helper()
	for i := range want {
		want[i] = "CANARY " + want[i]
	}
	if got := values(t, e.of(environment).Set); !slices.Equal(got, want) {
		t.Errorf("%s: %s gets %q, not %q", what, environment, got, want)
	}
}

// Maps travel where a held plugin refers to them, wherever in its configuration, and not before; those of an environment nowhere else.
func TestMapsTravelWhereTheyAreReferredTo(t *testing.T) {
	t.Parallel()
	e, ids := mapped(t)
	e.run()
	wantValues(t, e, "nothing refers", "prod")
	wantValues(t, e, "nothing refers", wire.DefaultEnvironment)
	if bytes.Contains(plainOf(t, e, "prod"), []byte("CANARY")) {
		t.Error("a value is sent without need")
	}
	for _, config := range []string{
		`{"headers":{"X-Key":"{kvm://m/k}"}}`, `{"headers":null,"http_endpoint":"{kvm://m/k}"}`,
	} {
		e.update("plugins", ids["http-log"], `{"config":`+config+`}`)
		wantValues(t, e, config, "prod", "organisation", "plugin", "prod", "route", "service")
		wantValues(t, e, config, wire.DefaultEnvironment, "default", "organisation", "plugin", "route", "service")
	}
	e.update("plugins", ids["http-log"], `{"config":{"http_endpoint":"http://log.test/"}}`)
	wantValues(t, e, "no longer", "prod")
	e.insert("plugins", `{"name":"kvm-lookup","config":{"map":"m","header":"X-A","key_name":"k"}}`)
	wantValues(t, e, "looked up", "prod", "organisation", "prod", "route", "service")
	e.update("services", "s", `{"tags":["staging"]}`)
	wantValues(t, e, "without the service", "prod") // and so without any route
	e.update("services", "s", `{"tags":["prod"]}`)
	e.delete("environments", "prod")
	wantValues(t, e, "without prod", wire.DefaultEnvironment, "default", "organisation", "route", "service")
}

func plainOf(t *testing.T, e *env, environment string) []byte {
	t.Helper()
	chunks, err := e.of(environment).Snapshot()
	e.must(err)
	_, plain := versionstest.Unpack(t, chunks)
	return plain
}

// A plugin whose values do not open may refer to anything of its workspace: data planes keep their form of it, and of what it
// refers to. Entries that do not open are sent as far as they can be read, which is all but their value.
func TestMapsOfAPluginThatDoesNotOpen(t *testing.T) {
	t.Parallel()
	e, ids := mapped(t)
	e.update("plugins", ids["http-log"], `{"config":{"http_endpoint":"{kvm://m/k}"}}`) // sealed, as any endpoint
	e.run()
	before := e.of("prod").Set
	key := e.rotate()
	e.stop()
	e.keys.set(func(l *losing) { l.missing[key] = true })
	e.again() // nothing is known from before
	e.run()
	after := e.of("prod").Set
	if got := values(t, after); !slices.Equal(got, slices.Repeat([]string{"kept k"}, 5)) {
		t.Errorf("without the key prod gets %q", got)
	}
	for entry := range before.All() {
		if _, there := after.Get(entry.Kind, entry.ID); !there {
			t.Errorf("%s/%s was taken away for a key that is missing", entry.Kind, entry.ID)
		}
	}
	e.keys.set(func(l *losing) { clear(l.missing) })
	e.feed.Wake()
	e.eventually("the rows open again", func() bool { return e.publisher.Kept().Rows == 0 })
	if healed := e.of("prod").Set; healed.Hash() != before.Hash() {
		t.Error("prod gets something else than before the key was missing")
	}
}

// Vaults travel where something that is held refers to their prefix: plugins, and certificates that are shown.
func TestVaultsTravelWhereTheyAreReferredTo(t *testing.T) {
	t.Parallel()
	e, ids := mapped(t)
	for _, prefix := range []string{"logs", "tls", "none"} {
		e.insert("vaults", fmt.Sprintf(`{"prefix":%q,"name":"env","config":{"prefix":"X_"}}`, prefix))
	}
	e.insert("certificates", `{"cert":"{vault://tls/cert}","key":"{vault://tls/key}","snis":["a.example"]}`)
	e.run()
	held := func(what string, want int) {
		t.Helper()
		if got := count(e.of("prod").Set, "vaults"); got != want {
			t.Errorf("%s: prod holds %d vaults, not %d", what, got, want)
		}
	}
	held("a certificate refers to one", 1)
	e.update("plugins", ids["http-log"], `{"config":{"headers":{"X-Key":"{vault://logs/key#2}"}}}`)
	held("a plugin to another", 2)
	e.update("plugins", ids["http-log"], `{"enabled":false}`)
	held("the plugin is switched off", 1)
	e.update("routes", "r", `{"hosts":["b.example"]}`)
	held("the certificate is shown to nobody", 0)
	e.insert("vaults", `{"prefix":"team","name":"hcv","config":{"host":"vault.example","auth_method":"token","token":"{vault://none/token}"}}`)
	e.insert("vaults", `{"prefix":"other","name":"hcv","config":{"host":"vault.example","auth_method":"token","token":"{vault://team/x/token}"}}`)
	held("vaults that nothing refers to refer to others", 0)
	e.update("plugins", ids["http-log"], `{"enabled":true,"config":{"headers":{"X-Key":"{vault://team/a/key}"}}}`)
	held("a plugin refers to a vault that takes its token from another", 2)
}
