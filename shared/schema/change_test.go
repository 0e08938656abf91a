package schema_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/schema"
)

func change(t testing.TB, s *schema.Schema, base proto.Message, how schema.How, body string) proto.Message {
	t.Helper()
	m, err := s.Build(s.EntityOf(base), base, parseJSON(t, body), how, nil)
	if err != nil {
		t.Fatalf("Build(%s): %v", body, err)
	}
	return m
}

func TestUpdateMergesRecordsAndReplacesLists(t *testing.T) {
	t.Parallel()
	s := newSchema()
	base := insert(t, s, "upstreams", `{"name":"u","tags":["a","b"],"healthchecks":{"active":{"timeout":5,"headers":{"a":["1"],"b":["2"]}}}}`)
	got := shown(t, s, change(t, s, base, schema.Update, `{"tags":["c"],"healthchecks":{"active":{"concurrency":3,"headers":{"c":["3"]}}}}`))
	active, _ := got["healthchecks"].(map[string]any)["active"].(map[string]any)
	want := parseJSON(t, `{"tags":["c"],"timeout":5,"concurrency":3,"headers":{"c":["3"]},"name":"u"}`)
	have := schema.Document{"tags": got["tags"], "timeout": active["timeout"], "concurrency": active["concurrency"], "headers": active["headers"], "name": got["name"]}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestUpdateOfAPluginNeedsNoName(t *testing.T) {
	t.Parallel()
	s := newSchema()
	base := insert(t, s, "plugins", `{"name":"key-auth","config":{"key_names":["a","b"],"key_in_body":true}}`)
	e := entity(t, s, "plugins")
	doc, err := s.ParseForm(e, []byte("config.key_names=c&config.hide_credentials=true&config.realm="))
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Build(e, base, doc, schema.Update, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := parseJSON(t, `{"key_names":["c"],"hide_credentials":true,"anonymous":null,"key_in_header":true,"key_in_query":true,
		"key_in_body":true,"run_on_preflight":true,"realm":null}`)
	if diff := cmp.Diff(any(want), shown(t, s, m)["config"]); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	renamed := shown(t, s, change(t, s, base, schema.Update, `{"name":"basic-auth"}`))
	if diff := cmp.Diff(any(parseJSON(t, `{"anonymous":null,"hide_credentials":false,"realm":"service"}`)), renamed["config"]); diff != "" {
		t.Errorf("config of another plugin (-want +got):\n%s", diff)
	}
}

func TestReplaceReturnsToDefaults(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSchema()
		base := insert(t, s, "services", `{"host":"h","retries":1,"tags":["a"],"name":"n"}`).(*configv1.Service)
		time.Sleep(time.Hour)
		got := change(t, s, base, schema.Replace, `{"host":"i"}`).(*configv1.Service)
		if got.GetId() != base.GetId() || got.GetCreatedAt() != base.GetCreatedAt() || got.GetUpdatedAt() != base.GetUpdatedAt()+3600 {
			t.Errorf("id, created_at, updated_at = %s %d %d", got.GetId(), got.GetCreatedAt(), got.GetUpdatedAt())
		}
		if got.GetRetries() != 5 || got.Tags != nil || got.Name != nil || got.GetHost() != "i" {
			t.Error("omitted fields kept their values")
		}
		if !s.Same(s.EntityOf(got), got, change(t, s, got, schema.Replace, `{"host":"i"}`)) {
			t.Error("the same PUT twice is a change")
		}
		if s.Same(s.EntityOf(got), got, base) {
			t.Error("a change is none")
		}
	})
}

func TestChangesAreRefused(t *testing.T) {
	t.Parallel()
	s := newSchema()
	consumer := insert(t, s, "consumers", `{"username":"a"}`)
	tests := map[string]struct {
		how           schema.How
		body, message string
	}{
		"the last name goes": {schema.Update, `{"username":null}`, "schema violation (when updating, at least one of these fields must be non-empty: 'custom_id', 'username')"},
		"another id":         {schema.Update, `{"id":"` + otherID + `"}`, "schema violation (id: immutable field cannot be updated)"},
		"another id in PUT":  {schema.Replace, `{"username":"a","id":"` + otherID + `"}`, "schema violation (id: immutable field cannot be updated)"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := s.Build(s.EntityOf(consumer), consumer, parseJSON(t, test.body), test.how, nil)
			if err == nil || err.Error() != test.message {
				t.Errorf("error = %v, want %s", err, test.message)
			}
		})
	}
	if _, err := s.Build(s.EntityOf(consumer), nil, nil, schema.Update, nil); err == nil {
		t.Error("an update of nothing was accepted")
	}
}

func TestTimeToLive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSchema()
		base := insert(t, s, "keyauth_credentials", `{"consumer":{"id":"`+someID+`"},"ttl":100}`).(*configv1.KeyauthCredential)
		if base.GetExpiresAt() != time.Now().Unix()+100 || base.Ttl != nil || len(base.GetKey()) != 32 {
			t.Fatalf("expires_at, ttl, length of key = %d %v %d", base.GetExpiresAt(), base.Ttl, len(base.GetKey()))
		}
		time.Sleep(40 * time.Second)
		if left := shown(t, s, base)["ttl"]; left != parseJSON(t, `{"n":60}`)["n"] {
			t.Errorf("ttl shown after 40 s = %v", left)
		}
		kept := change(t, s, base, schema.Update, `{"tags":["a"]}`).(*configv1.KeyauthCredential)
		if kept.GetExpiresAt() != base.GetExpiresAt() || kept.GetKey() != base.GetKey() {
			t.Error("a PATCH without ttl or key changed one of them")
		}
		again := change(t, s, base, schema.Replace, `{"consumer":{"id":"`+someID+`"}}`).(*configv1.KeyauthCredential)
		if again.ExpiresAt != nil || again.GetKey() != base.GetKey() {
			t.Errorf("after a PUT without either: expires_at %v, same key %t", again.ExpiresAt, again.GetKey() == base.GetKey())
		}
		if endless := change(t, s, base, schema.Update, `{"ttl":0}`).(*configv1.KeyauthCredential); endless.ExpiresAt != nil {
			t.Error("ttl 0 still ends")
		}
		if _, shownTTL := shown(t, s, again)["ttl"]; shownTTL {
			t.Error("a key without an end shows a ttl")
		}
	})
}

func TestProductsOwnFieldsSurvive(t *testing.T) {
	t.Parallel()
	s := newSchema()
	base := insert(t, s, "basicauth_credentials", `{"consumer":{"id":"`+someID+`"},"username":"a","password":"p"}`).(*configv1.BasicauthCredential)
	base.PasswordCheck = proto.String("check")
	for _, how := range []schema.How{schema.Update, schema.Replace} {
		got := change(t, s, base, how, `{"consumer":{"id":"`+someID+`"},"username":"b","password":"p"}`).(*configv1.BasicauthCredential)
		if got.GetPasswordCheck() != "check" {
			t.Errorf("how %d: password_check = %q", how, got.GetPasswordCheck())
		}
	}
}

// names resolves what a test says exists.
type names map[string]string

func (n names) Resolve(table, field, value string) (string, bool, error) {
	id, found := n[table+"."+field+"="+value]
	if id == "broken" {
		return "", false, errors.New("the store is down")
	}
	return id, found, nil
}

func TestForeignKeysByName(t *testing.T) {
	t.Parallel()
	known := names{"services.name=s": someID, "services.name=down": "broken", "consumers.username=u": otherID}
	tests := map[string]struct {
		body, message string
		code          int
		want          any
	}{
		"found":     {`{"paths":["/"],"service":{"name":"s"}}`, "", 0, map[string]any{"id": someID}},
		"id wins":   {`{"paths":["/"],"service":{"name":"s","id":"` + otherID + `"}}`, "", 0, map[string]any{"id": otherID}},
		"not found": {`{"paths":["/"],"service":{"name":"nope"}}`, `foreign key unresolved (service.name: the foreign key cannot be resolved with '{name="nope"}' for an existing 'services' entity)`, 13, nil},
		"no key":    {`{"paths":["/"],"service":{"host":"s"}}`, "schema violation (service: missing primary key)", 2, nil},
		"trouble":   {`{"paths":["/"],"service":{"name":"down"}}`, "the store is down", 0, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSchema()
			m, err := s.Build(entity(t, s, "routes"), nil, parseJSON(t, test.body), schema.Insert, known)
			if test.message == "" {
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(test.want, shown(t, s, m)["service"]); diff != "" {
					t.Errorf("service (-want +got):\n%s", diff)
				}
				return
			}
			if err == nil || err.Error() != test.message {
				t.Fatalf("error = %v, want %s", err, test.message)
			}
			if v, ok := errors.AsType[*schema.Violations](err); ok != (test.code != 0) || ok && v.Code() != test.code {
				t.Errorf("code of %v, want %d", err, test.code)
			}
		})
	}
}
