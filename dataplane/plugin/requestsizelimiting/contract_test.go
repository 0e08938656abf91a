package requestsizelimiting_test

import (
	"strings"
	"testing"

	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
	"github.com/keepgate/keepgate/dataplane/plugin/requestsizelimiting"
)

func TestContract(t *testing.T) {
	plugintest.Suite(t, plugintest.Plugin{
		Kind:   requestsizelimiting.Kind{},
		Config: `{"allowed_payload_size":1,"size_unit":"kilobytes"}`,
		Refused: &plugintest.Refused{
			Request: plugintest.Request{Method: "POST", Body: strings.Repeat("x", 1025)}, Status: 413, Message: "Request size limit exceeded",
		},
	})
}
