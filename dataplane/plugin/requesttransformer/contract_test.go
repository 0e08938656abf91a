package requesttransformer_test

import (
	"testing"

	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
	"github.com/keepgate/keepgate/dataplane/plugin/requesttransformer"
)

func TestContract(t *testing.T) {
	plugintest.Suite(t, plugintest.Plugin{
		Kind: requesttransformer.New(),
		Config: `{"http_method":"GET","remove":{"headers":["x-gone"],"querystring":["gone"],"body":["gone"]},
			"rename":{"headers":["x-old:x-new"],"querystring":["old:new"],"body":["old:new"]},
			"replace":{"uri":"/$(headers.x_old or 'none')/new","headers":["Host:$(headers.x_old).test","accept:*"],"querystring":["a:1"],"body":["a:1"]},
			"add":{"headers":["x-add:$(query_params.a)"],"querystring":["b:2"],"body":["b:2"]},
			"append":{"headers":["x-more:$(headers['x-old']), $(shared.x)"],"querystring":["b:$(query_params.a)"],"body":["b:3"]}}`,
		Request: plugintest.Request{Target: "/a?a=x%20y&gone=1&old=2", Headers: []string{"X-Old", "tenant", "X-Gone", "1"}},
		Refused: &plugintest.Refused{Request: plugintest.Request{Headers: []string{"X-Old", ".."}}, Status: 400, Message: "Bad request"},
	})
}
