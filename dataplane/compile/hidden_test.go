package compile_test

import (
	"slices"
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
