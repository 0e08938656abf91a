package ratelimiting_test

import (
	"testing"

	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
	"github.com/keepgate/keepgate/dataplane/plugin/ratelimiting"
)

func TestContract(t *testing.T) {
	log := plugintest.NewLog()
	plugintest.Suite(t, plugintest.Plugin{
		Kind:   ratelimiting.New(ratelimiting.Options{Log: log.Logger()}),
		Config: `{"minute":1000000,"year":1000000,"redis":{"password":"canary-of-redis"}}`,
		Log:    log,
	})
}
