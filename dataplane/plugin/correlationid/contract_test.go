package correlationid_test

import (
	"testing"

	"github.com/keepgate/keepgate/dataplane/plugin/correlationid"
	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
)

func TestContract(t *testing.T) {
	for _, generator := range []string{"uuid", "uuid#counter", "tracker"} {
		t.Run(generator, func(t *testing.T) {
			plugintest.Suite(t, plugintest.Plugin{
				Kind:   correlationid.New(),
				Config: `{"generator":"` + generator + `","echo_downstream":true}`,
			})
		})
	}
}
