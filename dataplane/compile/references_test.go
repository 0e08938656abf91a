package compile_test

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/keepgate/keepgate/dataplane/compile"
	"github.com/keepgate/keepgate/dataplane/plugin"
	"github.com/keepgate/keepgate/dataplane/table"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/secretref"
)

// vault is what references resolve to at the moment. What comes is known only after it was waited for.
type vault struct {
	known, comes map[string]string
	log          []string
	asked        []string // in the compilation that was last
	vaults       []string
}

func (v *vault) Begin(vaults iter.Seq2[string, *configv1.Vault]) {
	v.log, v.asked, v.vaults = append(v.log, "begin"), nil, nil
	for workspace, one := range vaults {
		v.vaults = append(v.vaults, workspace+"/"+one.GetPrefix())
	}
}

func (*vault) Fault(workspace, prefix string) string {
	if prefix == "faulty" {
		return "config.prefix: no folder, in " + workspace
	}
	return ""
}

func (v *vault) Resolve(workspace string, r secretref.Reference) (string, error) {
	if asked := workspace + " " + r.String(); !slices.Contains(v.asked, asked) {
		v.asked = append(v.asked, asked)
	}
	if text, ok := v.known[r.String()]; ok {
		return text, nil
	}
	return "", errors.New("vault " + r.Place + " has no such thing")
}

func (v *vault) Settle() bool {
	v.log = append(v.log, "settle")
	came := len(v.comes) > 0
	for reference, value := range v.comes {
		v.known[reference] = value
	}
	v.comes = nil
	return came
}

func (v *vault) End() { v.log = append(v.log, "end") }

// refers is a plugin that looks up what stands in its header names, and counts how often it was made.
type refers struct{ made int }

func (*refers) Name() string  { return "refers" }
func (*refers) Priority() int { return 1 }

type referred struct {
	plugin.Logger
	found []string
}

func (k *refers) New(config []byte, env plugin.Env) (any, error) {
	k.made++
	var m pluginv1.KeyAuth
	if err := proto.Unmarshal(config, &m); err != nil {
		return nil, err
	}
	made := &referred{}
	for _, text := range m.GetKeyNames().GetValues() {
		for part := range secretref.Cut(text) {
			if !part.IsReference() {
				continue
			}
			value, err := env.Lookup(part.Text)
			if err != nil {
				return nil, err
			}
			made.found = append(made.found, value)
		}
	}
	return made, nil
}

func (r *referred) SecretParameters() []string { return r.found }

// found are the values that the serving instance of refers has.
func found(t *table.Table) []string { return t.Plugins.SecretParameters() }

func referring(t *testing.T, texts ...string) []byte {
	t.Helper()
	return marshal(t, &pluginv1.KeyAuth{KeyNames: &configv1.StringArray{Values: texts}})
}

// in places an entity in a workspace.
func (c config) in(t *testing.T, workspace, kind, id string, m proto.Message) {
	t.Helper()
	c.put(t, kind, id, m)
	placed, err := proto.Marshal(&syncv1.Placed{Workspace: &workspace})
	if err != nil {
		t.Fatal(err)
	}
	key := [2]string{kind, id}
	c[key] = append(c[key], placed...)
}

func withRefers(options compile.Options) (*compile.Compiler, *refers) {
	kind := &refers{}
	return compilerOf([]plugin.Kind{kind}, options), kind
}

func TestAReferenceIsWaitedForOnce(t *testing.T) {
	t.Parallel()
	v := &vault{known: map[string]string{}, comes: map[string]string{"{vault://env/a}": "1", "{vault://env/b}": "2"}}
	compiler, kind := withRefers(compile.Options{Vaults: v})
	c := config{}
	c.put(t, "plugins", "p", &configv1.Plugin{Name: new("refers"), Config: referring(t, "x {vault://env/a} {vault://env/b}")})
	c.in(t, "w1", "vaults", "v", &configv1.Vault{Prefix: new("mine")})
	made, quarantined := compiler.Compile(c.all)
	if len(quarantined) != 0 || !slices.Equal(found(made), []string{"1", "2"}) || kind.made != 2 {
		t.Errorf("quarantined %v, found %v, made %d times", quarantined, found(made), kind.made)
	}
	if got := strings.Join(v.log, " "); got != "begin settle begin end" {
		t.Errorf("the vaults were asked in this order: %s", got)
	}
	if !slices.Equal(v.asked, []string{"default {vault://env/a}", "default {vault://env/b}"}) || !slices.Equal(v.vaults, []string{"w1/mine"}) {
		t.Errorf("asked for %v of %v", v.asked, v.vaults)
	}
	compiler.Compile(c.all)
	if kind.made != 2 || len(v.asked) != 2 {
		t.Errorf("without a change it was made %d times, and %v was asked for", kind.made, v.asked)
	}
	v.known["{vault://env/b}"] = "3"
	if made, _ = compiler.Compile(c.all); kind.made != 3 || !slices.Equal(found(made), []string{"1", "3"}) {
		t.Errorf("after a rotation made %d times, found %v", kind.made, found(made))
	}
}

func TestWhatCannotBeResolvedFailsClosedAndHeals(t *testing.T) {
	t.Parallel()
	v := &vault{known: map[string]string{"{vault://env/a}": "1"}}
	compiler, kind := withRefers(compile.Options{Vaults: v})
	c := config{}
	c.put(t, "plugins", "p", &configv1.Plugin{Name: new("refers"), Config: referring(t, "{vault://env/b} {vault://env/a}{vault://env/c}")})
	made, quarantined := compiler.Compile(c.all)
	if len(quarantined) != 1 || quarantined[0].Reason != "vault env has no such thing" || made.Unmatched.Empty() {
		t.Errorf("quarantined %v", quarantined)
	}
	if want := []string{"default {vault://env/b}", "default {vault://env/a}", "default {vault://env/c}"}; !slices.Equal(v.asked, want) {
		t.Errorf("asked for %v, want all of them so that they come at once", v.asked)
	}
	if _, again := compiler.Compile(c.all); kind.made != 1 || len(again) != 1 || len(v.asked) != 3 {
		t.Errorf("made %d times, quarantined %v, asked %v", kind.made, again, v.asked)
	}
	v.known["{vault://env/b}"], v.known["{vault://env/c}"] = "2", "3"
	if made, quarantined = compiler.Compile(c.all); len(quarantined) != 0 || !slices.Equal(found(made), []string{"1", "2", "3"}) {
		t.Errorf("quarantined %v, found %v", quarantined, found(made))
	}
}

func TestWithoutVaultsReferencesFailClosed(t *testing.T) {
	t.Parallel()
	compiler, _ := withRefers(compile.Options{})
	c := config{}
	c.put(t, "plugins", "p", &configv1.Plugin{Name: new("refers"), Config: referring(t, "{vault://env/b}")})
	if _, quarantined := compiler.Compile(c.all); len(quarantined) != 1 || quarantined[0].ID != "p" {
		t.Errorf("quarantined %v", quarantined)
	}
}

// Of maps with one name the narrowest counts for whoever refers to it, and those of other workspaces are not there.
func TestReferencesToMaps(t *testing.T) {
	t.Parallel()
	compiler, kind := withRefers(compile.Options{})
	c := config{}
	c.put(t, "services", "s", &configv1.Service{Host: new("h.test"), Protocol: new("http"), Port: new(int64(80))})
	c.put(t, "routes", "r", &configv1.Route{Paths: &configv1.StringArray{Values: []string{"/"}}, Service: &configv1.Ref{Id: "s"}})
	c.put(t, "plugins", "p", &configv1.Plugin{Name: new("refers"), Route: &configv1.Ref{Id: "r"}, Config: referring(t, "{kvm://m/k}")})
	entry := func(workspace, id, of, value string) {
		c.in(t, workspace, "key_value_entries", id, &configv1.KeyValueEntry{Id: &id, Map: &configv1.Ref{Id: of}, Key: new("k"), Value: &value})
	}
	look := func(want, reason string) {
		t.Helper()
		made, quarantined := compiler.Compile(c.all)
		got, why := strings.Join(found(made), ""), ""
		for _, q := range quarantined {
			if q.Kind == "plugins" {
				why = q.Reason
			}
		}
		if got != want || !strings.Contains(why, reason) || (reason == "") != (len(quarantined) == 0) {
			t.Errorf("found %q, quarantined %v, want %q and %q", got, quarantined, want, reason)
		}
	}
	c.in(t, "other", "key_value_maps", "theirs", &configv1.KeyValueMap{Id: new("theirs"), Name: new("m")})
	entry("other", "e0", "theirs", "another workspace's")
	look("", `there is no key-value map "m" here`)
	c.put(t, "key_value_maps", "wide", &configv1.KeyValueMap{Id: new("wide"), Name: new("m")})
	look("", `the key-value map "m" has no key "`)
	entry("default", "e1", "wide", "the organisation's")
	look("the organisation's", "")
	before := kind.made
	look("the organisation's", "")
	if kind.made != before {
		t.Error("made again although nothing changed")
	}
	c.put(t, "key_value_maps", "narrow", &configv1.KeyValueMap{Id: new("narrow"), Name: new("m"), Service: &configv1.Ref{Id: "s"}})
	entry("default", "e2", "narrow", "the service's")
	look("the service's", "")
	entry("default", "e2", "narrow", "changed")
	look("changed", "")
	c[[2]string{"key_value_entries", "e2"}] = []byte{0x0A, 0x7F, 'x'}
	look("", "cannot be read")
}

func TestACertificateIsParsedAgainOnlyWhenItsReferencesChange(t *testing.T) {
	t.Parallel()
	one, oneKey := pemPair(t, "one")
	two, twoKey := pemPair(t, "two")
	v := &vault{known: map[string]string{"{vault://tls/c}": one, "{vault://tls/k}": oneKey}}
	compiler := compilerWith(compile.Options{Vaults: v})
	c := config{}
	c.in(t, "w1", "certificates", "c", &configv1.Certificate{Cert: new("{vault://tls/c}"), Key: new("{vault://tls/k}")})
	c.in(t, "w1", "snis", "n", &configv1.Sni{Name: new("one.test"), Certificate: &configv1.Ref{Id: "c"}})
	first, quarantined := compiler.Compile(c.all)
	if len(quarantined) != 0 || !slices.Contains(v.asked, "w1 {vault://tls/k}") {
		t.Fatalf("quarantined %v, asked %v", quarantined, v.asked)
	}
	again, _ := compiler.Compile(c.all)
	if a, b := first.Certificates.Lookup("one.test"), again.Certificates.Lookup("one.test"); len(a) != 1 || len(b) != 1 || a[0] != b[0] {
		t.Error("it was parsed again")
	}
	v.known["{vault://tls/c}"] = two // its key comes later
	for range 2 {
		torn, quarantined := compiler.Compile(c.all)
		if b := torn.Certificates.Lookup("one.test"); len(quarantined) != 1 || len(b) != 1 || b[0] != again.Certificates.Lookup("one.test")[0] ||
			!strings.HasPrefix(quarantined[0].Reason, "certificate or key cannot be used") {
			t.Errorf("a certificate whose key comes later: %v", quarantined)
		}
	}
	v.known["{vault://tls/k}"] = twoKey
	next, quarantined := compiler.Compile(c.all)
	if b := next.Certificates.Lookup("one.test"); len(quarantined) != 0 || len(b) != 1 || b[0] == again.Certificates.Lookup("one.test")[0] {
		t.Errorf("quarantined %v", quarantined)
	}
	delete(v.known, "{vault://tls/k}")
	if none, quarantined := compiler.Compile(c.all); len(quarantined) != 1 || len(none.Certificates.Lookup("one.test")) != 0 {
		t.Errorf("without its key: %v", quarantined)
	}
}

// Whoever looks at a fleet is told what to mend: which vault, map or entry, and which field of it.
func TestReasonsNameTheField(t *testing.T) {
	t.Parallel()
	number := func(m proto.Message, name string) protowire.Number {
		return m.ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(name)).Number()
	}
	c := config{}
	c.put(t, "vaults", "v1", &configv1.Vault{Prefix: new("faulty")})
	c.put(t, "vaults", "v2", &configv1.Vault{Prefix: new("sound")})
	c.put(t, "vaults", "v3", &configv1.Vault{Prefix: new("torn")})
	c.put(t, "key_value_maps", "m", &configv1.KeyValueMap{Id: new("m"), Name: new("limits")})
	c.put(t, "key_value_entries", "e", &configv1.KeyValueEntry{Map: &configv1.Ref{Id: "m"}, Key: new("a/b"), Value: new("s3cret")})
	c.put(t, "key_value_entries", "f", &configv1.KeyValueEntry{Map: &configv1.Ref{Id: "m"}, Key: new("c")})
	c.put(t, "cache_purges", "g", &configv1.CachePurge{CacheKey: new("k")})
	c.put(t, "certificates", "x", &configv1.Certificate{Cert: new("{kvm://limits/c}"), Key: new("{kvm://limits/none}")})
	for key, field := range map[[2]string]protowire.Number{
		{"vaults", "v3"}: number(&configv1.Vault{}, "config"), {"key_value_entries", "e"}: number(&configv1.KeyValueEntry{}, "value"),
		{"cache_purges", "g"}: number(&configv1.CachePurge{}, "plugin"),
	} {
		c[key] = spoiled(c[key], field)
	}
	compiler, _ := withRefers(compile.Options{Vaults: &vault{}})
	_, quarantined := compiler.Compile(c.all)
	var got []string
	for _, q := range quarantined {
		got = append(got, fmt.Sprintf("%s/%s %s: %s", q.Kind, q.ID, q.Name, q.Reason))
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{
		"cache_purges/g : its bytes cannot be decoded: plugin",
		`certificates/x : key: the key-value map "limits" has no key "none"`,
		"key_value_entries/e limits/a/b: its bytes cannot be decoded: value",
		"vaults/v1 faulty: config.prefix: no folder, in default",
		"vaults/v3 torn: its bytes cannot be decoded: config",
	}, got); diff != "" {
		t.Error(diff)
	}
}
