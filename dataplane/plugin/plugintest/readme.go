package plugintest

import (
	"os"
	"regexp"
	"testing"

	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
)

// readme checks the page beside the plugin. Tests run in the folder of their package.
func (p Plugin) readme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var names func(fields []*schema.Field)
	names = func(fields []*schema.Field) {
		for _, f := range fields {
			if !regexp.MustCompile("[`.]" + regexp.QuoteMeta(f.Name) + "[`.]").Match(text) {
				t.Errorf("README.md does not name the field %s", f.Path)
			}
			if f.Kind == schema.Record {
				names(f.Fields)
			}
		}
	}
	names(schema.New(plugins.All()).PluginFields(p.Kind.Name()))
}
