package compile_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/dataplane/compile"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
)

// What a plugin takes from the query is hidden in the logs of every workspace, also while the plugin refuses all for want of its
// secrets: requests bring them all the same.
func TestParametersThatAreHidden(t *testing.T) {
	t.Parallel()
	c := twin(t)
	config := marshal(t, &pluginv1.KeyAuth{KeyNames: &configv1.StringArray{Values: []string{"apikey"}}})
	c.put(t, "plugins", "k", &configv1.Plugin{Name: new("key-auth"), Config: config})
	c.place(t, "plugins", "k", "sales")
	for name, withheld := range map[string]bool{"as ever": false, "withheld": true} {
		made, _ := newCompiler().Compile(func(yield func(compile.Entity) bool) {
			c.all(func(e compile.Entity) bool {
				e.Withheld = withheld && e.Kind == "plugins"
				e.Locked = e.Withheld
				return yield(e)
			})
		})
		for _, workspace := range []string{"default", "sales"} {
			if hidden := made.Runtime(homeRoute(t, made, workspace)).SecretParameters(); !slices.Equal(hidden, []string{"apikey"}) {
				t.Errorf("%s: hidden in the logs of %s: %v", name, workspace, hidden)
			}
		}
		if code := status(t, made, "sales"); withheld && code != 503 {
			t.Errorf("%s: it answers %d", name, code)
		}
	}
}

// A small configuration cannot take all of the memory by what it refers to.
func TestWhatReferencesLeadToIsBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("s", 512<<10)
	v := &vault{known: map[string]string{"{vault://env/long}": long, "{vault://env/a}": "1"}}
	compiler, kind := withRefers(compile.Options{Vaults: v})
	c := config{}
	for i := range 5 {
		c.in(t, "w1", "plugins", fmt.Sprint("p", i), &configv1.Plugin{Name: new("refers"), Config: referring(t, strings.Repeat("{vault://env/long}", 30))})
	}
	c.put(t, "plugins", "other", &configv1.Plugin{Name: new("refers"), Config: referring(t, "{vault://env/a}")})
	for range 2 {
		made, quarantined := compiler.Compile(c.all)
		if len(quarantined) != 1 || quarantined[0].ID != "p4" || !strings.Contains(quarantined[0].Reason, "64 MiB") || kind.made != 6 {
			t.Fatalf("%d quarantined, made %d times", len(quarantined), kind.made)
		}
		if !slices.Contains(found(made), "1") {
			t.Error("another workspace has to do without")
		}
	}
}
