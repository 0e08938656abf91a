package proxycache_test

import (
	"testing"

	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
	"github.com/keepgate/keepgate/dataplane/plugin/proxycache"
)

func TestContract(t *testing.T) { //nolint:paralleltest // it measures
	plugintest.Suite(t, plugintest.Plugin{
		Kind: proxycache.New(proxycache.Options{}), Config: `{"strategy":"memory","vary_headers":["X-Kind"],"vary_query_params":["a"]}`,
		Request: plugintest.Request{Target: "/?b=1&a=2", Headers: []string{"X-Kind", "one"}},
	})
}
