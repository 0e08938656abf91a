package iprestriction_test

import (
	"testing"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin/iprestriction"
	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
)

func TestContract(t *testing.T) {
	plugintest.Suite(t, plugintest.Plugin{
		Kind:      iprestriction.Kind{},
		Config:    `{"allow":["127.0.0.1","192.0.2.0/24"],"deny":["192.0.2.128/25"]}`,
		Protocols: []string{"grpc", "grpcs", "http", "https", "tcp", "tls"},
	})
	plugintest.Suite(t, plugintest.Plugin{
		Kind:      iprestriction.Kind{},
		Config:    `{"deny":["127.0.0.0/8"],"message":"not from here"}`,
		Protocols: []string{"grpc", "grpcs", "http", "https", "tcp", "tls"},
		Status:    403,
		Refused:   &plugintest.Refused{Status: 403, Message: "not from here"},
		Connection: func(*plugintest.Gate) func(ex *exchange.Exchange) {
			return func(ex *exchange.Exchange) { ex.Request.Remote = local }
		},
	})
}
