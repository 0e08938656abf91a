package stream_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/publish"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/schema"
)

// in links a data plane of an environment.
func (cp *controlPlane) in(environment, name string) *dataPlane {
	cp.t.Helper()
	dp := cp.dataPlane(mtlstest.Leaf{Identity: identity.Identity{Role: identity.DataPlane, Organisation: "default", Environment: environment, Name: name}})
	dp.start()
	cp.holds(dp)
	return dp
}

func (cp *controlPlane) update(table, key, body string) {
	cp.t.Helper()
	document, err := schema.ParseJSON([]byte(body))
	cp.must(err)
	_, err = cp.catalog.Update(cp.t.Context(), catalog.Address{Table: table, Workspace: cp.workspace, Key: key}, document)
	cp.must(err)
	cp.feed.Wake()
}

func (cp *controlPlane) below(parent, key, table, body string) {
	cp.t.Helper()
	document, err := schema.ParseJSON([]byte(body))
	cp.must(err)
	_, err = cp.catalog.Insert(cp.t.Context(), catalog.Address{Table: table, Workspace: cp.workspace, Parent: &catalog.Parent{Table: parent, Key: key}}, document)
	cp.must(err)
	cp.feed.Wake()
}

// tenant makes a service with a route, plugins with secrets, and a consumer with credentials, all of it for a tag. Its
// secrets are returned: every one has a beginning of its own.
func (cp *controlPlane) tenant(tag string) (secrets []string) {
	cp.t.Helper()
	secret := func(of string) string {
		text := fmt.Sprintf("canary-%s-%s-c41f9d", of, tag)
		secrets = append(secrets, text)
		return text
	}
	cp.insert("services", fmt.Sprintf(`{"name":%[1]q,"host":"up-%[1]s","tags":[%[1]q]}`, tag))
	cp.insert("upstreams", fmt.Sprintf(`{"name":"up-%s"}`, tag))
	cp.below("upstreams", "up-"+tag, "targets", fmt.Sprintf(`{"target":"%s.backend.example:80"}`, tag))
	cp.below("services", tag, "routes", fmt.Sprintf(`{"name":%[1]q,"paths":["/%[1]s"],"hosts":["%[1]s.example"]}`, tag))
	cp.below("routes", tag, "plugins", `{"name":"jwt"}`)
	cp.below("routes", tag, "plugins", `{"name":"key-auth"}`)
	cp.below("routes", tag, "plugins", fmt.Sprintf(`{"name":"http-log","config":{"http_endpoint":"http://log.example/%s","headers":{"x-token":%q}}}`, secret("endpoint"), secret("header")))
	cp.insert("consumers", fmt.Sprintf(`{"username":%[1]q,"tags":[%[1]q]}`, tag))
	cp.below("consumers", tag, "jwt_secrets", fmt.Sprintf(`{"key":%q,"secret":%q}`, "issuer-"+tag, secret("jwt")))
	cp.below("consumers", tag, "keyauth_credentials", fmt.Sprintf(`{"key":%q}`, secret("key")))
	cp.below("consumers", tag, "acls", fmt.Sprintf(`{"group":%q}`, secret("group")))
	return secrets
}

// entries is what chunks carry, and the bytes of it.
func entries(t testing.TB, chunks []*syncv1.Chunk) (all *syncv1.Entries, plain []byte) {
	t.Helper()
	decoder, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer decoder.Close()
	all = &syncv1.Entries{}
	for _, chunk := range chunks {
		part, err := decoder.DecodeAll(chunk.Payload, nil)
		if err != nil {
			t.Fatal(err)
		}
		var entries syncv1.Entries
		if err := proto.Unmarshal(part, &entries); err != nil {
			t.Fatal(err)
		}
		all.Puts, all.Deletes = append(all.Puts, entries.Puts...), append(all.Deletes, entries.Deletes...)
		plain = append(plain, part...)
	}
	return all, plain
}

// difference says what a data plane was sent since the last look: "+table" for what was put, "-table" for what was deleted.
func (cp *controlPlane) difference(dp *dataPlane, name string) string {
	cp.t.Helper()
	cp.holds(dp)
	all, _ := entries(cp.t, cp.wire.sentTo(name))
	var list []string
	for _, put := range all.Puts {
		list = append(list, "+"+put.Kind)
	}
	for _, gone := range all.Deletes {
		list = append(list, "-"+gone.Kind)
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// within finds a secret in bytes: as it is, in hex, or in base64 wherever it begins there.
func within(data []byte, secret string) bool {
	forms := [][]byte{[]byte(secret), []byte(hex.EncodeToString([]byte(secret))), []byte(strings.ToUpper(hex.EncodeToString([]byte(secret))))}
	for lead := range 3 {
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := encoding.EncodeToString(append(make([]byte, lead), secret...))
			forms = append(forms, []byte(text[(lead*8+5)/6+1:len(text)-2]))
		}
	}
	return slices.ContainsFunc(forms, func(form []byte) bool { return bytes.Contains(data, form) })
}

const whole = "+acls +consumers +jwt_secrets +keyauth_credentials +plugins +plugins +plugins +routes +services +targets +upstreams"

// twice is two of all.
func twice(text string) string {
	list := strings.Fields(text + " " + text)
	slices.Sort(list)
	return strings.Join(list, " ")
}

// Every environment gets its own and what that needs, in frames that hold nothing else: not a secret of others, and of
// a change exactly the difference.
func TestEnvironmentsGetTheirOwn(t *testing.T) {
	t.Parallel()
	cp := newControlPlane(t)
	cp.insert("environments", `{"name":"prod","select_tags":["prod"]}`)
	cp.insert("environments", `{"name":"staging","select_tags":["staging"]}`)
	secrets := map[string][]string{"prod": cp.tenant("prod"), "staging": cp.tenant("staging")}
	cp.caughtUp()
	nodes := map[string]*dataPlane{}
	for _, environment := range []string{"prod", "staging", "default"} {
		nodes[environment] = cp.in(environment, environment)
	}
	for _, environment := range []string{"prod", "staging"} {
		_, plain := entries(t, cp.wire.sentTo(environment))
		for of, list := range secrets {
			for _, secret := range list {
				found := within(plain, secret)
				if isKey := strings.HasPrefix(secret, "canary-key-"); isKey && found {
					t.Errorf("%s gets an API key in clear", environment)
				} else if !isKey && found != (of == environment) {
					t.Errorf("%s gets the secret %s: %v", environment, secret, found)
				}
			}
		}
	}
	cp.wire.sentTo("default")
	expectSent := func(when string, want map[string]string) {
		t.Helper()
		got := map[string]string{}
		for name, dp := range nodes {
			if text := cp.difference(dp, name); text != "" {
				got[name] = text
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}

	cp.update("services", "prod", `{"retries":3}`)
	expectSent("a change of a service of prod", map[string]string{"prod": "+services", "default": "+services"})

	cp.update("services", "staging", `{"tags":["prod"]}`)
	// Its consumer stays with staging, and so do its credentials: staging checks none any more, prod must not have them.
	moved := "+plugins +plugins +plugins +routes +services +targets +upstreams"
	gone := strings.ReplaceAll(whole, "+", "-")
	expectSent("a service moves to prod", map[string]string{"prod": moved, "staging": gone, "default": "+services"})

	cp.update("consumers", "staging", `{"tags":null}`)
	expectSent("its consumer is no environment's own any more", map[string]string{"prod": "+acls +consumers +jwt_secrets +keyauth_credentials", "default": "+consumers"})

	cp.update("environments", "staging", `{"select_tags":["prod"]}`)
	expectSent("staging selects the same", map[string]string{"staging": twice(whole)})

	cp.update("environments", "staging", `{"select_tags":[]}`)
	expectSent("staging selects nothing", map[string]string{"staging": strings.ReplaceAll(twice(whole), "+", "-")})

	cp.insert("plugins", `{"name":"prometheus"}`)
	expectSent("a plugin without a scope", map[string]string{"prod": "+plugins", "default": "+plugins"})
	if holds, err := cp.publisher.Holds("staging", ""); err != nil || len(holds) != 0 {
		t.Errorf("staging holds %v, %v", holds, err)
	}
	if holds, err := cp.publisher.Holds("prod", "services"); err != nil || len(holds) != 2 || !strings.Contains(holds[0].Why, `the tag "prod"`) {
		t.Errorf("prod holds %v, %v", holds, err)
	}
}

// Environments come and go while data planes ask for them.
func TestEnvironmentsComeAndGo(t *testing.T) {
	t.Parallel()
	cp := newControlPlane(t)
	cp.tenant("prod")
	early := cp.dataPlane(mtlstest.Leaf{Identity: identity.Identity{Role: identity.DataPlane, Organisation: "default", Environment: "prod", Name: "early"}})
	early.start()
	eventually(t, "it is told that there is no such environment", func() bool { return early.log.has("there is no environment") })
	cp.insert("environments", `{"name":"prod","select_tags":["prod"]}`)
	cp.holds(early)
	if text := cp.difference(early, "early"); text != strings.Replace(whole, "+jwt", "+fingerprint_keys +jwt", 1) {
		t.Errorf("it got %s", text)
	}
	before := early.state().Set.Hash()
	cp.must(cp.catalog.Delete(t.Context(), catalog.Address{Table: "environments", Key: "prod"}))
	cp.feed.Wake()
	eventually(t, "the link of an environment that is gone ends", func() bool { return cp.fleet.Linked() == 0 && !early.link.Connected() })
	if early.state().Set.Hash() != before {
		t.Error("what it holds was taken from it")
	}
	cp.insert("environments", `{"name":"prod","select_tags":["prod"],"workspaces":["default"]}`)
	cp.holds(early)
	if early.state().Set.Hash() == before {
		t.Error("another environment of the name has the same fingerprint key")
	}
}

// While a fingerprint key changes, data planes have both, and every API key under both, until each of them has the new one.
func TestAFingerprintKeyChangesInTwoSteps(t *testing.T) {
	t.Parallel()
	cp := newControlPlane(t)
	cp.tenant("prod")
	cp.insert("environments", `{"name":"prod","select_tags":["prod"]}`)
	cp.caughtUp()
	near, far, other := cp.in("prod", "near"), cp.in("prod", "far"), cp.in("default", "other")
	far.stop()
	keys := func(dp *dataPlane) (keys, prints int) {
		for e := range dp.state().Set.All() {
			switch e.Kind {
			case "fingerprint_keys":
				keys++
			case "keyauth_credentials":
				credential := &configv1.KeyauthCredential{}
				cp.must(proto.Unmarshal(e.Body, credential))
				prints += len(credential.Fingerprints)
			}
		}
		return keys, prints
	}
	cp.difference(near, "near")
	cp.difference(other, "other")
	cp.must(cp.catalog.RotateFingerprintKey(t.Context(), "prod"))
	cp.feed.Wake()
	if text := cp.difference(near, "near"); text != "+fingerprint_keys +keyauth_credentials" {
		t.Errorf("with the change it got %s", text)
	}
	if k, p := keys(near); k != 2 || p != 2 {
		t.Errorf("it has %d keys and %d fingerprints of one API key", k, p)
	}
	change := func() publish.KeyChange {
		t.Helper()
		change, err := cp.publisher.FingerprintKey(t.Context(), "prod")
		cp.must(err)
		return change
	}
	eventually(t, "only who is away is waited for", func() bool { return slices.Equal(change().Waiting, []string{"far"}) })
	if c := change(); c.Previous == "" || c.ID == c.Previous {
		t.Errorf("the change: %+v", c)
	}
	if p := cp.catalog.RotateFingerprintKey(t.Context(), "prod"); p == nil {
		t.Error("another change began before the first one ended")
	}
	cp.restart() // what is waited for is known after it too
	cp.caughtUpIn("prod")
	eventually(t, "who is away is still waited for", func() bool { return slices.Equal(change().Waiting, []string{"far"}) })

	far.start()
	eventually(t, "the previous key is dropped when the last one has the new one", func() bool {
		cp.feed.Wake()
		return change().Previous == ""
	})
	for _, dp := range []*dataPlane{near, far} {
		cp.holds(dp)
		if k, p := keys(dp); k != 1 || p != 1 {
			t.Errorf("after the change a data plane has %d keys and %d fingerprints", k, p)
		}
	}
	if text := cp.difference(other, "other"); text != "" {
		t.Errorf("another environment got %s", text)
	}
	if _, err := cp.publisher.FingerprintKey(t.Context(), "nowhere"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("the key of an environment that is not there: %v", err)
	}
}
