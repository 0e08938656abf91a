package requesttermination_test

import (
	"testing"

	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
	"github.com/keepgate/keepgate/dataplane/plugin/requesttermination"
)

func TestContract(t *testing.T) {
	plugintest.Suite(t, plugintest.Plugin{
		Kind:   requesttermination.Kind{},
		Config: `{"trigger":"x-stop","status_code":418,"message":"no coffee"}`,
		Refused: &plugintest.Refused{
			Request: plugintest.Request{Target: "/?x-stop"}, Status: 418, Message: "no coffee", Compact: true,
		},
	})
}
