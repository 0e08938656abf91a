package mtlsauth_test

import (
	"bytes"
	"testing"

	"github.com/keepgate/keepgate/dataplane/balancer"
	"github.com/keepgate/keepgate/dataplane/compile"
	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
	"github.com/keepgate/keepgate/dataplane/plugin"
	"github.com/keepgate/keepgate/dataplane/plugin/mtlsauth"
	"github.com/keepgate/keepgate/dataplane/upstream"
	"github.com/keepgate/keepgate/shared/pkitest"
)

// damage is what befalls one entity on its way to the gate.
type damage struct {
	kind, id string
	text     string // becomes no UTF-8; "" spoils the whole
	locked   bool   // it is whole, and nobody may open it
}

// configureDamaged applies a file of which one entity cannot be read.
func (g *gate) configureDamaged(file string, d damage) {
	g.t.Helper()
	compiler := compile.New([]plugin.Kind{mtlsauth.New(g.log.Logger())}, balancer.Settings{}, upstream.NewPools(new(wire.Blocks), client.Options{}), compile.Options{})
	hit := d.kind == ""
	compiled, _ := compiler.Compile(func(yield func(compile.Entity) bool) {
		for e := range g.Set(file).All() {
			one := compile.Entity{Kind: e.Kind, ID: e.ID, Body: e.Body}
			if e.Kind == d.kind && e.ID == d.id {
				hit, one.Locked = true, d.locked
				switch {
				case d.text != "" && bytes.Contains(e.Body, []byte(d.text)):
					one.Body = bytes.ReplaceAll(e.Body, []byte(d.text), bytes.Repeat([]byte{0xFF}, len(d.text)))
				case d.text != "":
					g.t.Fatalf("%q is not in %s %s", d.text, d.kind, d.id)
				case !d.locked:
					one.Body = []byte{0xFF}
				}
			}
			if !yield(one) {
				return
			}
		}
	})
	if !hit {
		g.t.Fatalf("there is no %s %s", d.kind, d.id)
	}
	g.Tables.Swap(compiled)
}

// A certificate whose owner cannot be read is nobody's. It is not that of whoever would come next.
func TestALostEntityMakesNobodySomebodyElse(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	root := pkitest.Root(t, "root")
	between := root.Below("between")
	g.client("direct", root.Issue("alice"))
	g.client("below", between.Issue("alice"))
	g.client("free", root.Issue("free"))
	const (
		pinned, open       = "20000000-0000-4000-8000-000000000001", "20000000-0000-4000-8000-000000000002"
		near, far, anybody = "30000000-0000-4000-8000-000000000001", "30000000-0000-4000-8000-000000000002", "30000000-0000-4000-8000-000000000003"
		byName, byCustomID = "30000000-0000-4000-8000-000000000004", "30000000-0000-4000-8000-000000000005"
	)
	credentials := `consumers:
- {id: ` + near + `, username: near, mtls_auth_credentials: [{id: ` + pinned + `, subject_name: alice, ca_certificate: {id: ` + secondID + `}}]}
- {id: ` + far + `, username: far, mtls_auth_credentials: [{subject_name: alice, ca_certificate: {id: ` + firstID + `}}]}
- {id: ` + anybody + `, username: anybody, mtls_auth_credentials: [{id: ` + open + `, subject_name: free}]}
- {id: ` + byName + `, username: free, groups: [{name: gold}]}
- {id: ` + byCustomID + `, username: someone, custom_id: free}
consumer_groups: [{id: 40000000-0000-4000-8000-000000000001, name: gold}]`
	names := `consumers:
- {id: ` + byName + `, username: alice, groups: [{name: gold}]}
- {id: ` + byCustomID + `, username: bob, custom_id: alice}
- {id: ` + anybody + `, username: guest}
consumer_groups: [{id: 40000000-0000-4000-8000-000000000001, name: gold}]`
	const credentialTable, consumers, authorities = "mtls_auth_credentials", "consumers", "ca_certificates"
	for name, test := range map[string]struct {
		damage       damage
		config, more string
		want         map[string]string // by client; "" for refused
	}{
		"nothing":                             {damage{}, "", credentials, map[string]string{"direct": "far", "below": "near", "free": "anybody"}},
		"a pinned credential":                 {damage{credentialTable, pinned, "", true}, "", credentials, map[string]string{"direct": "far", "below": "", "free": "anybody"}},
		"one whose authority is lost":         {damage{credentialTable, pinned, secondID, false}, "", credentials, map[string]string{"direct": "far", "below": "", "free": "anybody"}},
		"one whose name is lost":              {damage{credentialTable, pinned, "alice", false}, "", credentials, map[string]string{"direct": "far", "below": "", "free": "anybody"}},
		"one of which nothing is known":       {damage{credentialTable, pinned, "", false}, "", credentials, map[string]string{"direct": "far", "below": "", "free": ""}},
		"one for any authority":               {damage{credentialTable, open, "", true}, "", credentials, map[string]string{"direct": "far", "below": "near", "free": ""}},
		"one for any authority, with default": {damage{credentialTable, open, "", true}, "default_consumer: far", credentials, map[string]string{"free": ""}},
		"the consumer of a pinned credential": {damage{consumers, near, "", true}, "", credentials, map[string]string{"direct": "far", "below": ""}},
		"the authority of a credential":       {damage{authorities, secondID, "", true}, "", credentials, map[string]string{"direct": "far", "below": "", "free": "anybody"}},
		"by name":                             {damage{}, "", names, map[string]string{"direct": "alice", "below": "alice"}},
		"the consumer of a name":              {damage{consumers, byName, "", true}, "", names, map[string]string{"direct": ""}},
		"a consumer whose name is lost":       {damage{consumers, byName, "alice", false}, "", names, map[string]string{"direct": "", "free": ""}},
		"a consumer whose groups are lost":    {damage{"consumer_groups", "40000000-0000-4000-8000-000000000001", "gold", false}, "", names, map[string]string{"direct": ""}},
		"the other names' first":              {damage{consumers, byName, "", true}, "consumer_by: [custom_id, username]", names, map[string]string{"direct": "bob"}},
		"a name, with default":                {damage{consumers, byName, "", true}, "default_consumer: guest", names, map[string]string{"direct": "", "free": "guest"}},
		"a name, with anonymous":              {damage{consumers, byName, "", true}, "anonymous: guest", names, map[string]string{"direct": "guest"}},
	} {
		g.configureDamaged(setting{authorities: []*pkitest.Authority{root, between}, config: test.config, more: test.more}.file(), test.damage)
		for client, want := range test.want {
			reply := g.as(client)
			got := ""
			if reply.Status == 200 {
				got = reply.Echo(t).Header.Get("X-Consumer-Username")
			}
			if got != want || reply.Status != 200 && reply.Status != 401 {
				t.Errorf("%s: %s is answered %d as %q, want %q", name, client, reply.Status, got, want)
			}
		}
	}
}
