package acl_test

import (
	"testing"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
	"github.com/keepgate/keepgate/dataplane/plugin/acl"
	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
)

func TestContract(t *testing.T) {
	plugintest.Suite(t, plugintest.Plugin{
		Kind:     acl.Kind{},
		Config:   `{"allow":["staff"],"include_consumer_groups":true}`,
		Entities: `consumers: [{username: al, acls: [{group: staff}, {group: readers}], groups: [{name: gold}]}]` + "\n" + `consumer_groups: [{name: gold}]`,
		Refused:  &plugintest.Refused{Request: plugintest.Request{Headers: []string{"nobody", "1"}}, Status: 401, Message: "Unauthorized"},
		Connection: func(g *plugintest.Gate) func(ex *exchange.Exchange) {
			return func(ex *exchange.Exchange) { // as an auth plugin would have
				if al := g.Tables.Current().Plugins.Consumers.WithUsername("al"); al != nil && !ex.Request.Header.Has("nobody") {
					plugin.Identify(ex, al, plugin.Credential{ID: "k"})
				}
			}
		},
	})
}
