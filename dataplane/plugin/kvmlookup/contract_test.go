package kvmlookup_test

import (
	"testing"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
	"github.com/keepgate/keepgate/dataplane/plugin/kvmlookup"
	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
)

const limits = `key_value_maps: [{name: limits, entries: [{key: al, value: "10"}, {key: 127.0.0.1, value: "10"}, {key: 192.0.2.1, value: "10"}]}]`

func TestContract(t *testing.T) {
	tests := map[string]plugintest.Plugin{
		"header": {
			Config:  `{"map":"limits","key_from":"header","key_name":"X-Plan","header":"X-Limit"}`,
			Request: plugintest.Request{Headers: []string{"X-Plan", "al"}}, Entities: limits,
		},
		"query": {
			Config:  `{"map":"limits","key_from":"query","key_name":"plan","header":"X-Limit","error_code":451,"error_message":"No such plan"}`,
			Request: plugintest.Request{Target: "/?plan=%61l"}, Entities: limits,
			Refused: &plugintest.Refused{Status: 451, Message: "No such plan"},
		},
		"client_ip": {Config: `{"map":"limits","key_from":"client_ip","header":"X-Limit"}`, Entities: limits},
		"default":   {Config: `{"map":"limits","key_from":"literal","key_name":"none","header":"X-Limit","on_missing":"default","default_value":"CANARY"}`, Entities: limits},
		"consumer": {
			Config:   `{"map":"limits","key_from":"consumer_username","header":"X-Limit"}`,
			Entities: limits + "\nconsumers: [{username: al}]",
			Request:  plugintest.Request{Headers: []string{"known", "1"}},
			Refused:  &plugintest.Refused{Status: 404, Message: "No entry found"},
			Connection: func(g *plugintest.Gate) func(ex *exchange.Exchange) {
				return func(ex *exchange.Exchange) { // as an auth plugin would have
					if al := g.Tables.Current().Plugins.Consumers.WithUsername("al"); al != nil && ex.Request.Header.Has("known") {
						plugin.Identify(ex, al, plugin.Credential{ID: "k"})
					}
				}
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.Kind = kvmlookup.New()
			plugintest.Suite(t, test)
		})
	}
}
