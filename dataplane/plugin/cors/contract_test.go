package cors_test

import (
	"testing"

	"github.com/keepgate/keepgate/dataplane/plugin/cors"
	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
)

func TestContract(t *testing.T) {
	plugintest.Suite(t, plugintest.Plugin{
		Kind:    cors.Kind{},
		Config:  `{"origins":["https://a.example","(.*\\.)?b\\.example"],"credentials":true,"exposed_headers":["X-A"],"max_age":60}`,
		Request: plugintest.Request{Headers: []string{"Origin", "https://www.b.example"}},
	})
	plugintest.Suite(t, plugintest.Plugin{
		Kind:    cors.Kind{},
		Request: plugintest.Request{Method: "OPTIONS", Headers: []string{"Origin", "https://a.example", "Access-Control-Request-Method", "PUT"}},
	})
}
