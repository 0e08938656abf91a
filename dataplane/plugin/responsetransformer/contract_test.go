package responsetransformer_test

import (
	"testing"

	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
	"github.com/keepgate/keepgate/dataplane/plugin/responsetransformer"
)

func TestContract(t *testing.T) {
	plugintest.Suite(t, plugintest.Plugin{
		Kind: responsetransformer.New(),
		Config: `{"remove":{"headers":["x-gone"],"json":["gone"]},"rename":{"headers":["content-type:x-type"],"json":["Method:method"]},
			"replace":{"headers":["x-type:text/html"],"json":["URI:/"],"json_types":["string"]},"add":{"headers":["x-add:1"],"json":["n:1"],"json_types":["number"]},
			"append":{"headers":["x-add:2"],"json":["n:true"],"json_types":["boolean"]}}`,
	})
}
