package plugin_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"testing"

	"github.com/keepgate/keepgate/dataplane/plugin/basicauth"
	"github.com/keepgate/keepgate/dataplane/plugin/jwt"
	"github.com/keepgate/keepgate/dataplane/plugin/keyauth"
	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
	"github.com/keepgate/keepgate/shared/verifier"
)

func signed(t *testing.T, issuer string) string {
	t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"HS256"}`)) + "." + encode(fmt.Appendf(nil, `{"iss":%q}`, issuer))
	mac := hmac.New(sha256.New, []byte("shared"))
	mac.Write([]byte(text))
	return text + "." + encode(mac.Sum(nil))
}

// Several auth plugins on a route: without anonymous every one must accept (AND), with it one is enough (OR), and nobody comes
// in as the anonymous consumer who failed one that does not have it.
func TestSeveralAuthPlugins(t *testing.T) {
	t.Parallel()
	token := []string{"X-Token", "Bearer " + signed(t, "tokens")}
	key := []string{"apikey", "the-key"}
	password := []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("bea:word"))}
	with := func(lists ...[]string) (all []string) {
		for _, one := range lists {
			all = append(all, one...)
		}
		return all
	}
	const or, and = `anonymous: guest`, ``
	type want struct {
		status                int
		who, credential, anon string
	}
	guest := want{200, "guest", "", "true"}
	refused := want{status: 401}
	tests := map[string]struct {
		jwt, key, basic string
		headers         []string
		want            want
	}{
		"AND: nothing":                         {and, and, and, nil, refused},
		"AND: one of three":                    {and, and, and, key, refused},
		"AND: two of three":                    {and, and, and, with(token, key), refused},
		"AND: all, and the last one says who":  {and, and, and, with(token, key, password), want{200, "bea", "bea", ""}},
		"OR: nothing":                          {or, or, or, nil, guest},
		"OR: a token":                          {or, or, or, token, want{200, "tom", "tokens", ""}},
		"OR: a key":                            {or, or, or, key, want{200, "kim", "", ""}},
		"OR: a password":                       {or, or, or, password, want{200, "bea", "bea", ""}},
		"OR: the first that accepts says who":  {or, or, or, with(password, key, token), want{200, "tom", "tokens", ""}},
		"OR: a wrong one and a right one":      {or, or, or, with([]string{"X-Token", "Bearer x"}, key), want{200, "kim", "", ""}},
		"OR: all wrong":                        {or, or, or, []string{"X-Token", "Bearer x", "apikey", "x"}, guest},
		"AND then OR: the token alone":         {and, or, or, token, want{200, "tom", "tokens", ""}},
		"AND then OR: without the token":       {and, or, or, with(key, password), refused},
		"OR then AND: without the password":    {or, or, and, with(token, key), refused},
		"OR then AND: the password is who":     {or, or, and, with(token, key, password), want{200, "bea", "bea", ""}},
		"OR then AND: the guest has no say":    {or, or, and, nil, refused},
		"OR then AND: anonymous is taken back": {or, or, and, password, want{200, "bea", "bea", ""}},
	}
	g := plugintest.New(t, keyauth.Kind{}, jwt.New(), basicauth.New(verifier.NewGuard(verifier.Options{})))
	file := `
consumers:
- {username: guest}
- {username: tom, jwt_secrets: [{key: tokens, secret: shared}]}
- {username: kim, keyauth_credentials: [{key: the-key}]}
- {username: bea, basicauth_credentials: [{username: bea, password: word}]}
services:
- name: s
  url: "{{origin}}"
  routes:
`
	paths, n := map[string]string{}, 0
	for _, test := range tests {
		config := fmt.Sprintf("%s|%s|%s", test.jwt, test.key, test.basic)
		if paths[config] != "" {
			continue
		}
		n++
		paths[config] = fmt.Sprintf("/%d", n)
		file += fmt.Sprintf("  - {name: r%d, paths: [/%d], plugins: [{name: jwt, config: {header_names: [x-token], %s}}, {name: key-auth, config: {%s}}, {name: basic-auth, config: {%s}}]}\n",
			n, n, test.jwt, test.key, test.basic)
	}
	g.Configure(file)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			reply := g.Get(paths[fmt.Sprintf("%s|%s|%s", test.jwt, test.key, test.basic)], test.headers...)
			if reply.Status != test.want.status {
				t.Fatalf("%d %s", reply.Status, reply.Body)
			}
			if reply.Status != 200 {
				return
			}
			header := reply.Echo(t).Header
			got := want{200, header.Get("X-Consumer-Username"), header.Get("X-Credential-Identifier"), header.Get("X-Anonymous-Consumer")}
			if got.who == "kim" {
				got.credential = "" // the id of the key
			}
			if got != test.want {
				t.Errorf("%+v, want %+v", got, test.want)
			}
		})
	}
}
