package jwt_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/plugin/jwt"
	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
)

var algorithms = []string{
	"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
}

func TestAlgorithms(t *testing.T) {
	t.Parallel()
	k := keys(t)
	g := plugintest.New(t, jwt.New())
	g.Configure(k.file(t, `{}`))
	for _, algorithm := range algorithms {
		token := k.token(t, algorithm, map[string]any{"iss": algorithm})
		reply := g.Get("/", "Authorization", "Bearer "+token)
		if reply.Status != 200 {
			t.Errorf("%s: %d %s", algorithm, reply.Status, reply.Body)
			continue
		}
		header := reply.Echo(t).Header
		if header.Get("X-Consumer-Username") != "al" || header.Get("X-Credential-Identifier") != algorithm || header.Get("X-Anonymous-Consumer") != "" {
			t.Errorf("%s: identified as %v", algorithm, header)
		}
		head, tail := token[:strings.LastIndexByte(token, '.')+1], token[strings.LastIndexByte(token, '.')+1:]
		signature, err := base64.RawURLEncoding.DecodeString(tail)
		if err != nil {
			t.Fatal(err)
		}
		for name, change := range map[string]func([]byte) []byte{
			"a flipped bit": func(s []byte) []byte { s[len(s)/2] ^= 1; return s },
			"cut":           func(s []byte) []byte { return s[:len(s)-1] },
			"a byte more":   func(s []byte) []byte { return append(s, 0) },
			"zeros":         func(s []byte) []byte { clear(s); return s },
		} {
			bad := head + base64.RawURLEncoding.EncodeToString(change(append([]byte(nil), signature...)))
			if reply := g.Get("/", "Authorization", "Bearer "+bad); reply.Status != 401 || reply.Body != `{"message":"Invalid signature"}` {
				t.Errorf("%s, %s: %d %s", algorithm, name, reply.Status, reply.Body)
			}
		}
		// Whatever the header says instead, the credential's algorithm is the only one.
		for _, other := range append([]string{"none", "hs256", ""}, algorithms...) {
			if other == algorithm {
				continue
			}
			head := part(t, map[string]any{"alg": other}) + "." + part(t, map[string]any{"iss": algorithm})
			forged := head + "." + base64.RawURLEncoding.EncodeToString(signature)
			if known := len(other) > 4; known { // signed with what everybody knows: the public key as a shared secret
				forged = k.sign(t, "HS256", []byte(k.public(t, algorithm)), head)
			}
			if reply := g.Get("/", "Authorization", "Bearer "+forged); reply.Status != 401 || !strings.Contains(reply.Body, "algorithm") && !strings.Contains(reply.Body, "invalid alg") {
				t.Errorf("%s as %q: %d %s", algorithm, other, reply.Status, reply.Body)
			}
		}
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	k := keys(t)
	const bearer, withError = "Bearer", `Bearer error="invalid_token"`
	good := k.token(t, "HS256", claims(hour))
	signed := func(header, claims any) string {
		return k.sign(t, "HS256", []byte(shared), part(t, header)+"."+part(t, claims))
	}
	head := map[string]any{"alg": "HS256", "typ": "JWT"}
	now := time.Now().Unix()
	tests := map[string]struct {
		config    string
		request   plugintest.Request
		status    int
		body      string
		challenge string
	}{
		"no token":                {`{}`, plugintest.Request{}, 401, `{"message":"Unauthorized"}`, bearer},
		"no token, with a realm":  {`{realm: 'a"b'}`, plugintest.Request{}, 401, `{"message":"Unauthorized"}`, `Bearer realm="a\"b"`},
		"another scheme":          {`{}`, header("Authorization", "Basic "+good), 401, `{"message":"Unauthorized"}`, bearer},
		"in a header":             {`{}`, header("Authorization", "bearer  "+good), 200, "", ""},
		"in the query":            {`{}`, plugintest.Request{Target: "/?a=b&jwt=" + good}, 200, "", ""},
		"in another parameter":    {`{uri_param_names: [t]}`, plugintest.Request{Target: "/?jwt=" + good}, 401, `{"message":"Unauthorized"}`, bearer},
		"in a cookie":             {`{cookie_names: [c]}`, header("Cookie", "a=b; c="+good), 200, "", ""},
		"in a cookie not named":   {`{}`, header("Cookie", "c="+good), 401, `{"message":"Unauthorized"}`, bearer},
		"in another header":       {`{header_names: [x-token]}`, header("X-Token", "Bearer "+good), 200, "", ""},
		"the same token twice":    {`{}`, plugintest.Request{Target: "/?jwt=" + good, Headers: []string{"Authorization", "Bearer " + good}}, 200, "", ""},
		"two tokens":              {`{}`, plugintest.Request{Target: "/?jwt=x", Headers: []string{"Authorization", "Bearer " + good}}, 401, `{"message":"Multiple tokens provided"}`, withError},
		"two parameters":          {`{}`, plugintest.Request{Target: "/?jwt=x&jwt=" + good}, 401, `{"message":"Multiple tokens provided"}`, withError},
		"two headers":             {`{}`, plugintest.Request{Headers: []string{"Authorization", "Bearer x", "Authorization", "Bearer " + good}}, 401, `{"message":"Multiple tokens provided"}`, withError},
		"not a token":             {`{}`, header("Authorization", "Bearer x"), 401, `{"message":"Bad token; invalid JSON"}`, withError},
		"four parts":              {`{}`, header("Authorization", "Bearer "+good+".x"), 401, `{"message":"Bad token; invalid JSON"}`, withError},
		"no JSON":                 {`{}`, header("Authorization", "Bearer "+signed("x", "y")), 401, `{"message":"Bad token; invalid JSON"}`, withError},
		"a list":                  {`{}`, header("Authorization", "Bearer "+signed(head, "[]")), 401, `{"message":"Bad token; invalid JSON"}`, withError},
		"a claim twice":           {`{}`, header("Authorization", "Bearer "+signed(head, `{"iss":"x","iss":"issuer"}`)), 401, `{"message":"Bad token; invalid JSON"}`, withError},
		"a claim twice, escaped":  {`{}`, header("Authorization", "Bearer "+signed(head, `{"iss":"x","\u0069ss":"issuer"}`)), 401, `{"message":"Bad token; invalid JSON"}`, withError},
		"padded":                  {`{}`, header("Authorization", "Bearer "+good+"="), 401, `{"message":"Bad token; invalid signature"}`, withError},
		"no signature":            {`{}`, header("Authorization", "Bearer "+good[:strings.LastIndexByte(good, '.')+1]), 401, `{"message":"Bad token; invalid signature"}`, withError},
		"another type":            {`{}`, header("Authorization", "Bearer "+signed(map[string]any{"alg": "HS256", "typ": "JWE"}, claims(hour))), 401, `{"message":"Bad token; invalid typ"}`, withError},
		"a type in lower case":    {`{}`, header("Authorization", "Bearer "+signed(map[string]any{"alg": "HS256", "typ": "jwt"}, claims(hour))), 200, "", ""},
		"no type":                 {`{}`, header("Authorization", "Bearer "+signed(map[string]any{"alg": "HS256"}, claims(hour))), 200, "", ""},
		"no algorithm":            {`{}`, header("Authorization", "Bearer "+signed(map[string]any{}, claims(hour))), 401, `{"message":"Bad token; invalid alg"}`, withError},
		"critical extensions":     {`{}`, header("Authorization", "Bearer "+signed(map[string]any{"alg": "HS256", "crit": []string{"x"}}, claims(hour))), 401, `{"message":"Bad token; invalid crit"}`, withError},
		"no issuer":               {`{}`, header("Authorization", "Bearer "+signed(head, map[string]any{})), 401, `{"message":"No mandatory 'iss' in claims"}`, withError},
		"an empty issuer":         {`{}`, header("Authorization", "Bearer "+signed(head, map[string]any{"iss": ""})), 401, `{"message":"Invalid 'iss' in claims"}`, withError},
		"an issuer of lists":      {`{}`, header("Authorization", "Bearer "+signed(head, map[string]any{"iss": []string{"issuer"}})), 401, `{"message":"Invalid 'iss' in claims"}`, withError},
		"an unknown issuer":       {`{}`, header("Authorization", "Bearer "+signed(head, map[string]any{"iss": "x"})), 401, `{"message":"No credentials found for given 'iss'"}`, withError},
		"named in the header":     {`{key_claim_name: kid}`, header("Authorization", "Bearer "+signed(map[string]any{"alg": "HS256", "kid": "issuer"}, map[string]any{})), 200, "", ""},
		"no name in the header":   {`{key_claim_name: kid}`, header("Authorization", "Bearer "+good), 401, `{"message":"No mandatory 'kid' in claims"}`, withError},
		"another algorithm":       {`{}`, header("Authorization", "Bearer "+k.token(t, "HS512", claims(hour))), 401, `{"message":"Invalid algorithm"}`, withError},
		"another secret":          {`{}`, header("Authorization", "Bearer "+k.sign(t, "HS256", []byte("x"), part(t, head)+"."+part(t, claims(hour)))), 401, `{"message":"Invalid signature"}`, withError},
		"a secret that is base64": {`{secret_is_base64: true}`, header("Authorization", "Bearer "+k.sign(t, "HS256", base64Of(shared), part(t, head)+"."+part(t, claims(hour)))), 200, "", ""},
		"not as base64":           {`{secret_is_base64: true}`, header("Authorization", "Bearer "+good), 401, `{"message":"Invalid signature"}`, withError},
		"expired":                 {`{claims_to_verify: [exp]}`, header("Authorization", "Bearer "+k.token(t, "HS256", claims(-1))), 401, `{"exp":"token expired"}`, withError},
		"expired and unasked":     {`{}`, header("Authorization", "Bearer "+k.token(t, "HS256", claims(-1))), 200, "", ""},
		"early":                   {`{claims_to_verify: [nbf]}`, header("Authorization", "Bearer "+signed(head, map[string]any{"iss": "issuer", "nbf": now + hour})), 401, `{"nbf":"token not valid yet"}`, withError},
		"both":                    {`{claims_to_verify: [exp, nbf]}`, header("Authorization", "Bearer "+signed(head, map[string]any{"iss": "issuer", "exp": 1, "nbf": now + hour})), 401, `{"exp":"token expired","nbf":"token not valid yet"}`, withError},
		"no times":                {`{claims_to_verify: [exp, nbf]}`, header("Authorization", "Bearer "+signed(head, map[string]any{"iss": "issuer", "exp": "1"})), 401, `{"exp":"must be a number","nbf":"must be a number"}`, withError},
		"too long":                {`{claims_to_verify: [exp], maximum_expiration: 60}`, header("Authorization", "Bearer "+good), 401, `{"exp":"exceeds maximum allowed expiration"}`, withError},
		"long enough":             {`{claims_to_verify: [exp], maximum_expiration: 7200}`, header("Authorization", "Bearer "+good), 200, "", ""},
		"a preflight":             {`{run_on_preflight: false}`, plugintest.Request{Method: "OPTIONS"}, 200, "", ""},
		"a preflight, asked":      {`{}`, plugintest.Request{Method: "OPTIONS"}, 401, `{"message":"Unauthorized"}`, bearer},
		"anonymous":               {`{anonymous: guest}`, header("Authorization", "Bearer x"), 200, "", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := plugintest.New(t, jwt.New())
			g.Configure(k.file(t, test.config))
			reply := g.Do(test.request)
			if reply.Status != test.status || test.status != 200 && reply.Body != test.body {
				t.Errorf("%d %s, want %d %s", reply.Status, reply.Body, test.status, test.body)
			}
			if got := reply.Header.Get("WWW-Authenticate"); got != test.challenge {
				t.Errorf("WWW-Authenticate %q, want %q", got, test.challenge)
			}
			if log := g.AccessLog(); strings.Contains(log, good) {
				t.Errorf("the token is in the access log: %s", log)
			}
		})
	}
}

func header(pairs ...string) plugintest.Request { return plugintest.Request{Headers: pairs} }

// base64Of is what a text is when it is taken as base64 of either alphabet.
func base64Of(text string) []byte {
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		panic(fmt.Sprintf("the shared secret is to be base64 too: %v", err))
	}
	return data
}
