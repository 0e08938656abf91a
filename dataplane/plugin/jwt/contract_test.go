package jwt_test

import (
	"testing"

	"github.com/keepgate/keepgate/dataplane/plugin/jwt"
	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
)

const hour = 3600

func TestContract(t *testing.T) {
	k := keys(t)
	plugintest.Suite(t, plugintest.Plugin{
		Kind:     jwt.New(),
		Config:   `{"claims_to_verify":["exp","nbf"],"cookie_names":["session"],"maximum_expiration":86400}`,
		Entities: `consumers: [{username: al, jwt_secrets: [{key: issuer, secret: a-shared-secret}]}]`,
		Request:  plugintest.Request{Headers: []string{"Authorization", "Bearer " + k.token(t, "HS256", claims(hour))}},
		Refused: &plugintest.Refused{
			Request: plugintest.Request{Target: "/?jwt=x.y.z"}, Status: 401, Message: "Bad token; invalid JSON", Compact: true,
		},
	})
}
