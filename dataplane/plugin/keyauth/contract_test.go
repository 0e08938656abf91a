package keyauth_test

import (
	"testing"

	"github.com/keepgate/keepgate/dataplane/plugin/keyauth"
	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
)

func TestContract(t *testing.T) {
	plugintest.Suite(t, plugintest.Plugin{
		Kind:     keyauth.Kind{},
		Config:   `{"key_names":["apikey","x-key"],"hide_credentials":true}`,
		Entities: `consumers: [{username: al, keyauth_credentials: [{key: an-api-key}]}]`,
		Request:  plugintest.Request{Target: "/x?y=1&x-key=an-api-key"},
		Refused:  &plugintest.Refused{Request: plugintest.Request{Headers: []string{"apikey", "wrong"}}, Status: 401, Message: "Unauthorized"},
	})
}
