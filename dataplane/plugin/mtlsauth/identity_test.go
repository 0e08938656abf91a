package mtlsauth_test

import (
	"crypto/x509"
	"encoding/asn1"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/shared/pkitest"
)

func asn1Marshal(v any) ([]byte, error) { return asn1.Marshal(v) }

// identity is what the upstream hears of who the client is.
func identity(h http.Header) map[string]string {
	found := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, prefix := range []string{"X-Consumer", "X-Cred", "X-Client-Cert", "X-Anonymous", "X-Authenticated"} {
			if strings.HasPrefix(strings.ReplaceAll(name, "_", "-"), prefix) {
				found[name] = strings.Join(h[name], "|")
			}
		}
	}
	return found
}

// forged is what a client says of itself.
var forged = []string{
	"X-Consumer-Username", "admin", "X-Consumer-Groups", "admin", "X-Credential-Identifier", "admin", "X-Anonymous-Consumer", "false",
	"X-Client-Cert-Dn", "CN=admin", "X-Client-Cert-San", "admin", "x-client-cert-dn", "CN=admin", "X_Client_Cert_Dn", "CN=admin",
	"X-Authenticated-Groups", "admin",
}

func TestWhatTheUpstreamHears(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	root := pkitest.Root(t, "ca")
	g.client("alice", root.Issue("alice"))
	g.client("san", root.Issue("common", func(c *x509.Certificate) {
		c.Subject.Organization, c.DNSNames, c.EmailAddresses = []string{"Example, Inc."}, []string{"a.example", "b.example"}, []string{"a@b.c"}
	}))
	const (
		aliceID      = "10000000-0000-4000-8000-000000000001"
		anonymousID  = "10000000-0000-4000-8000-000000000002"
		credentialID = "20000000-0000-4000-8000-000000000001"
	)
	consumers := "consumers:\n- {id: " + aliceID + ", username: alice, custom_id: c1}\n- {id: " + anonymousID + ", username: anonymous}\n"
	credential := "- {id: 30000000-0000-4000-8000-000000000001, username: x, mtls_auth_credentials: [{id: " + credentialID + ", subject_name: alice}]}\n"
	skipped := "skip_consumer_lookup: true"
	for name, test := range map[string]struct {
		client, config, more string
		want                 map[string]string
	}{
		"by name": {"alice", "", consumers, map[string]string{
			"X-Consumer-Id": aliceID, "X-Consumer-Username": "alice", "X-Consumer-Custom-Id": "c1", "X-Credential-Identifier": "alice",
		}},
		"by credential": {"alice", "", consumers + credential, map[string]string{
			"X-Consumer-Id": "30000000-0000-4000-8000-000000000001", "X-Consumer-Username": "x", "X-Credential-Identifier": credentialID,
		}},
		"anonymous": {"nobody", "anonymous: anonymous", consumers, map[string]string{
			"X-Consumer-Id": anonymousID, "X-Consumer-Username": "anonymous", "X-Anonymous-Consumer": "true",
		}},
		"anonymous by id": {"nobody", "anonymous: " + anonymousID, consumers, map[string]string{
			"X-Consumer-Id": anonymousID, "X-Consumer-Username": "anonymous", "X-Anonymous-Consumer": "true",
		}},
		"no consumer is looked up": {"alice", skipped, consumers + credential, map[string]string{"X-Client-Cert-Dn": "CN=alice"}},
		"with alternative names":   {"san", skipped, consumers, map[string]string{"X-Client-Cert-Dn": `CN=common,O=Example\, Inc.`, "X-Client-Cert-San": "a.example, b.example, a@b.c"}},
	} {
		g.Configure(setting{authorities: []*pkitest.Authority{root}, config: test.config, more: test.more}.file())
		if diff := cmp.Diff(test.want, identity(g.admits(test.client, forged...).Header)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestGroupsOfACertificate(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	root := pkitest.Root(t, "ca")
	g.client("staff", root.Issue("staff", func(c *x509.Certificate) { c.Subject.Organization = []string{"x"} }))
	g.client("others", root.Issue("others"))
	for name, test := range map[string]struct {
		config, allow string
		admitted      []string
	}{
		"common name":      {"skip_consumer_lookup: true", "staff", []string{"staff"}},
		"the whole":        {"skip_consumer_lookup: true, authenticated_group_by: DN", `"CN=staff,O=x"`, []string{"staff"}},
		"not the other":    {"skip_consumer_lookup: true, authenticated_group_by: DN", "staff", nil},
		"consumers' no":    {"", "staff", nil},
		"consumer by name": {"", "of-consumer", []string{"staff"}},
	} {
		g.Configure(setting{
			authorities: []*pkitest.Authority{root}, config: test.config,
			more: "- {name: acl, config: {allow: [" + test.allow + "]}}\nconsumers: [{username: staff, acls: [{group: of-consumer}]}, {username: others}]",
		}.file())
		for _, client := range []string{"staff", "others"} {
			want := 403
			if slices.Contains(test.admitted, client) {
				want = 200
			}
			if reply := g.as(client); reply.Status != want {
				t.Errorf("%s: %s is answered %d %s, want %d", name, client, reply.Status, reply.Body, want)
			}
		}
	}
}

// Two auth plugins with an anonymous consumer mean "either of them", without one "both".
func TestBesideOtherAuthPlugins(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	root := pkitest.Root(t, "ca")
	g.client("alice", root.Issue("alice"))
	g.client("stranger", pkitest.Root(t, "other").Issue("alice"))
	consumers := "consumers: [{username: alice}, {username: bob, keyauth_credentials: [{key: bobs-key}]}, {username: nobody}]"
	either := setting{
		authorities: []*pkitest.Authority{root}, config: "anonymous: nobody",
		more: "- {name: key-auth, config: {anonymous: nobody}}\n" + consumers,
	}
	g.Configure(either.file())
	for _, test := range []struct{ client, key, want string }{
		{"alice", "", "alice"}, {"stranger", "bobs-key", "bob"}, {"in clear", "bobs-key", "bob"}, {"in clear", "", "nobody"}, {"stranger", "wrong", "nobody"}, {"alice", "bobs-key", "alice"},
	} {
		if echo := g.admits(test.client, "apikey", test.key); echo.Header.Get("X-Consumer-Username") != test.want {
			t.Errorf("%s with %q is taken for %s", test.client, test.key, echo.Header.Get("X-Consumer-Username"))
		}
	}
	both := setting{authorities: []*pkitest.Authority{root}, more: "- {name: key-auth}\n" + consumers}
	g.Configure(both.file())
	for _, test := range []struct {
		client, key string
		status      int
	}{{"alice", "", 401}, {"stranger", "bobs-key", 401}, {"alice", "bobs-key", 200}} {
		if reply := g.as(test.client, "apikey", test.key); reply.Status != test.status {
			t.Errorf("%s with %q: %d", test.client, test.key, reply.Status)
		}
	}
	g.Configure(setting{authorities: []*pkitest.Authority{root}, config: "anonymous: gone"}.file())
	if reply := g.as("stranger"); reply.Status != 500 {
		t.Errorf("the anonymous consumer does not exist: %d", reply.Status)
	}
}
