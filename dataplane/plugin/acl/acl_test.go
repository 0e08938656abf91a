package acl_test

import (
	"fmt"
	"testing"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
	"github.com/keepgate/keepgate/dataplane/plugin/acl"
	"github.com/keepgate/keepgate/dataplane/plugin/keyauth"
	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

const people = `
services: [{name: s, url: "{{origin}}", routes: [{name: r, paths: [/]}]}]
consumer_groups: [{name: gold}, {name: readers}]
consumers:
- {username: staffed, keyauth_credentials: [{key: staffed}], acls: [{group: staff}, {group: readers}]}
- {username: golden, keyauth_credentials: [{key: golden}], groups: [{name: gold}, {name: readers}], acls: [{group: readers}]}
- {username: alone, keyauth_credentials: [{key: alone}]}
- {username: guest}
- {username: reader, acls: [{group: readers}]}
`

func TestWhoComesIn(t *testing.T) {
	t.Parallel()
	type answer struct {
		status  int
		message string
		groups  string
	}
	in := func(groups string) answer { return answer{200, "", groups} }
	forbidden, unauthorized := answer{403, "You cannot consume this service", ""}, answer{401, "Unauthorized", ""}
	tests := map[string]struct {
		acl, auth string
		want      map[string]answer // by key
	}{
		"allow": {`{allow: [staff, gold]}`, `{}`, map[string]answer{
			"staffed": in("readers, staff"), "golden": forbidden, "alone": forbidden,
		}},
		"deny": {`{deny: [staff, gold]}`, `{}`, map[string]answer{
			"staffed": forbidden, "golden": in("readers"), "alone": in(""),
		}},
		"consumer groups too": {`{allow: [gold], include_consumer_groups: true}`, `{}`, map[string]answer{
			"staffed": forbidden, "golden": in("readers, gold"), "alone": forbidden,
		}},
		"consumer groups kept out": {`{deny: [gold], include_consumer_groups: true}`, `{}`, map[string]answer{
			"staffed": in("readers, staff"), "golden": forbidden, "alone": in(""),
		}},
		"without a header": {`{deny: [staff], hide_groups_header: true}`, `{}`, map[string]answer{
			"staffed": forbidden, "golden": in(""), "alone": in(""),
		}},
		"an anonymous guest without groups": {`{allow: [readers]}`, `{anonymous: guest}`, map[string]answer{"": unauthorized, "golden": in("readers")}},
		"an anonymous guest may come":       {`{deny: [staff]}`, `{anonymous: guest}`, map[string]answer{"": in("")}},
		"an anonymous reader":               {`{allow: [readers]}`, `{anonymous: reader}`, map[string]answer{"": in("readers")}},
		"an anonymous reader kept out":      {`{allow: [staff]}`, `{anonymous: reader}`, map[string]answer{"": forbidden}},
		"nobody has asked":                  {`{allow: [staff]}`, ``, map[string]answer{"staffed": unauthorized}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := plugintest.New(t, keyauth.Kind{}, acl.Kind{})
			auth := ""
			if test.auth != "" {
				auth = fmt.Sprintf("- {name: key-auth, config: %s}\n", test.auth)
			}
			g.Configure(people + "plugins:\n" + auth + "- {name: acl, config: " + test.acl + "}\n")
			for key, want := range test.want {
				headers := []string{"X-Consumer-Groups", "forged", "X_Consumer_Groups", "forged", "X-Authenticated-Groups", "forged", "x_authenticated-groups", "forged"}
				if key != "" {
					headers = append(headers, "apikey", key)
				}
				reply := g.Get("/", headers...)
				if reply.Status != want.status {
					t.Errorf("%q: %d %s", key, reply.Status, reply.Body)
					continue
				}
				if reply.Status != 200 {
					continue
				}
				echo := reply.Echo(t)
				if got := echo.Header.Get("X-Consumer-Groups"); got != want.groups {
					t.Errorf("%q: groups %q, want %q", key, got, want.groups)
				}
				if len(echo.Header["X-Consumer-Groups"]) > 1 || len(echo.Header["X_consumer_groups"])+len(echo.Header["X-Authenticated-Groups"])+len(echo.Header["X_authenticated-Groups"]) > 0 {
					t.Errorf("%q: forged headers arrive: %v", key, echo.Header)
				}
			}
		})
	}
}

// Groups that a certificate proved count where there is no consumer, or where they are to.
func TestAuthenticatedGroups(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		acl      string
		consumer bool
		status   int
		header   string
	}{
		"without a consumer":            {`{allow: [staff]}`, false, 200, "admins, staff"},
		"without a consumer, kept out":  {`{deny: [admins]}`, false, 403, ""},
		"not among them":                {`{allow: [readers]}`, false, 403, ""},
		"not told":                      {`{allow: [staff], hide_groups_header: true}`, false, 200, ""},
		"a consumer's own groups":       {`{allow: [readers]}`, true, 200, ""},
		"before a consumer's own":       {`{allow: [staff], always_use_authenticated_groups: true}`, true, 200, "admins, staff"},
		"instead of a consumer's own":   {`{allow: [readers], always_use_authenticated_groups: true}`, true, 403, ""},
		"a consumer's own are not them": {`{allow: [staff]}`, true, 403, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := plugintest.New(t, acl.Kind{})
			g.Connection = func(ex *exchange.Exchange) {
				ex.Consumer.AuthenticatedGroups = []string{"admins", "staff"}
				if test.consumer {
					plugin.Identify(ex, g.Tables.Current().Plugins.Consumers.WithUsername("golden"), plugin.Credential{ID: "k"})
				}
			}
			g.Configure(people + "plugins: [{name: acl, config: " + test.acl + "}]")
			reply := g.Get("/")
			if reply.Status != test.status {
				t.Fatalf("%d %s", reply.Status, reply.Body)
			}
			if reply.Status == 200 {
				if got := reply.Echo(t).Header.Get("X-Authenticated-Groups"); got != test.header {
					t.Errorf("X-Authenticated-Groups: %q, want %q", got, test.header)
				}
			}
		})
	}
}

// A credential without a consumer is in no group.
func TestCredentialWithoutConsumer(t *testing.T) {
	t.Parallel()
	g := plugintest.New(t, acl.Kind{})
	g.Connection = func(ex *exchange.Exchange) { ex.Consumer.CredentialID = "k" }
	g.Configure(people + "plugins: [{name: acl, config: {deny: [staff]}}]")
	if reply := g.Get("/"); reply.Status != 403 {
		t.Errorf("%d %s", reply.Status, reply.Body)
	}
}

// An acl that cannot be decoded lets nobody in, and keeps out whom it may be about.
func TestLostAcls(t *testing.T) {
	t.Parallel()
	sure := func(known ...string) func(fields ...fieldName) bool {
		return func(fields ...fieldName) bool {
			for _, field := range fields {
				found := false
				for _, one := range known {
					found = found || one == string(field)
				}
				if !found {
					return false
				}
			}
			return true
		}
	}
	m := &configv1.Acl{Consumer: &configv1.Ref{Id: "ada"}, Group: new("staff")}
	tests := map[string]struct {
		lost     plugin.Lost
		ada, bob map[string]int // by configuration
	}{
		"all is known": {plugin.Lost{Message: m, Sure: sure("consumer", "group")}, map[string]int{"deny staff": 403, "deny other": 0, "allow staff": 403}, map[string]int{"deny staff": 0}},
		"a consumer":   {plugin.Lost{Message: m, Sure: sure("consumer")}, map[string]int{"deny staff": 403, "deny other": 403, "allow staff": 403}, map[string]int{"deny staff": 0, "deny other": 0}},
		"a group":      {plugin.Lost{Message: m, Sure: sure("group")}, map[string]int{"deny staff": 403, "deny other": 0}, map[string]int{"deny staff": 403, "deny other": 0, "allow staff": 403}},
		"nothing":      {plugin.Lost{Message: &configv1.Acl{}, Sure: sure()}, map[string]int{"deny staff": 403, "deny other": 403}, map[string]int{"deny staff": 403, "deny other": 403, "allow staff": 403}},
	}
	consumers := plugin.NewConsumers([]*plugin.Consumer{{ID: "ada"}, {ID: "bob"}})
	for name, test := range tests {
		made := acl.Kind{}.Store(noEntities, consumers, func(string, string, string, string) { t.Error("reported") })
		acl.Kind{}.Lose(made, test.lost)
		on := plugin.NewRuntime(consumers, []any{made})
		for who, want := range map[string]map[string]int{"ada": test.ada, "bob": test.bob} {
			for config, status := range want {
				var how, group string
				_, _ = fmt.Sscan(config, &how, &group)
				instance, err := acl.Kind{}.New(plugintest.Config(t, "acl", fmt.Sprintf(`{%s: [%s]}`, how, group)), plugin.Env{})
				if err != nil {
					t.Fatal(err)
				}
				ex := new(exchange.Exchange)
				ex.NeedSlots(on.Slots)
				plugin.Identify(ex, consumers.ByID(who), plugin.Credential{ID: "k"})
				instance.(plugin.Accesser).Access(ex, &on)
				if ex.Response.Status != status {
					t.Errorf("%s, %s, %s: %d, want %d", name, who, config, ex.Response.Status, status)
				}
			}
		}
	}
}
