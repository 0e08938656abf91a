package basicauth_test

import (
	"testing"

	"github.com/keepgate/keepgate/dataplane/plugin/basicauth"
	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
	"github.com/keepgate/keepgate/shared/verifier"
)

func TestContract(t *testing.T) {
	plugintest.Suite(t, plugintest.Plugin{
		Kind:     basicauth.New(verifier.NewGuard(verifier.Options{})),
		Config:   `{"realm":"shop"}`,
		Entities: `consumers: [{username: al, basicauth_credentials: [{username: al, password: "pass:word"}]}]`,
		Request:  plugintest.Request{Headers: []string{"Authorization", "Basic YWw6cGFzczp3b3Jk"}},
		Refused:  &plugintest.Refused{Status: 401, Message: "Unauthorized"},
	})
}
