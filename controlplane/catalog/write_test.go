package catalog_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/schema"
)

// The Kong seed's walk: a consumer and its password, below the consumer's name.
func TestWalkOfTheSeed(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	bob := e.insert("consumers", `{"username":"bob"}`)
	m, err := e.catalog.Insert(t.Context(), e.below("consumers", "bob", "basicauth_credentials", ""), doc(t, `{"username":"bob","password":"supersecretpassword"}`))
	if err != nil {
		t.Fatal(err)
	}
	made := e.shown("basicauth_credentials", m)
	if diff := cmp.Diff(map[string]any{"id": id(bob)}, made["consumer"]); diff != "" {
		t.Errorf("consumer (-want +got):\n%s", diff)
	}
	if password := made["password"].(string); !strings.HasPrefix(password, "$argon2id$") {
		t.Errorf("the password is shown as something else than a hash")
	}
	if stored := e.raw("basicauth_credentials", id(made), "password"); !strings.HasPrefix(stored, "$ke$1$-"+e.ring.Keys().Active+"-") {
		t.Errorf("stored as %.20s…", stored)
	}
	again, err := e.catalog.Get(t.Context(), e.below("consumers", "bob", "basicauth_credentials", id(made)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(made, e.shown("basicauth_credentials", again)); diff != "" {
		t.Errorf("read again (-made +read):\n%s", diff)
	}
	key := e.rotate()
	changed, err := e.catalog.Update(t.Context(), e.below("consumers", "bob", "basicauth_credentials", "bob"), doc(t, `{"password":"adifferentsecretpassword"}`))
	if err != nil {
		t.Fatal(err)
	}
	if e.shown("basicauth_credentials", changed)["password"] == made["password"] {
		t.Error("another password has the same hash")
	}
	if stored := e.raw("basicauth_credentials", id(made), "password"); !strings.HasPrefix(stored, "$ke$1$-"+key+"-") {
		t.Errorf("after the rotation stored as %.20s…", stored)
	}
}

func TestUpsert(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	put := func(key, body string) map[string]any {
		t.Helper()
		m, err := e.catalog.Upsert(t.Context(), e.at("services", key), doc(t, body))
		if err != nil {
			t.Fatal(err)
		}
		return e.shown("services", m)
	}
	made := put("s", `{"host":"h","retries":7}`)
	if made["name"] != "s" || made["retries"] != 7.0 {
		t.Errorf("made %v", made)
	}
	replaced := put("s", `{"host":"g"}`)
	if replaced["retries"] != 5.0 || id(replaced) != id(made) || replaced["created_at"] != made["created_at"] {
		t.Errorf("replaced by %v, want defaults and the same id", replaced)
	}
	byID := put(absent, `{"host":"x"}`)
	if id(byID) != absent || byID["name"] != nil {
		t.Errorf("made by id: %v", byID)
	}
	head := e.head()
	if put("s", `{"host":"g"}`); e.head() != head {
		t.Error("a PUT that changes nothing made a revision")
	}
	upper := put(strings.ToUpper(absent), `{"host":"y"}`)
	if id(upper) != absent {
		t.Errorf("an upper-case id made %s", id(upper))
	}
}

func TestUpdateMergesAndKeepsTime(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	made := e.insert("services", `{"name":"s","host":"h","tags":["a"]}`)
	time.Sleep(1100 * time.Millisecond) // times are whole seconds
	m, err := e.catalog.Update(t.Context(), e.at("services", "s"), doc(t, `{"retries":1}`))
	if err != nil {
		t.Fatal(err)
	}
	changed := e.shown("services", m)
	want := made["updated_at"].(float64)
	if changed["updated_at"].(float64) <= want || changed["created_at"] != made["created_at"] || changed["retries"] != 1.0 || changed["host"] != "h" {
		t.Errorf("changed to %v", changed)
	}
	m, err = e.catalog.Update(t.Context(), e.at("services", "s"), doc(t, `{"tags":null}`))
	if err != nil || e.shown("services", m)["tags"] != nil {
		t.Errorf("tags = %v, %v", e.shown("services", m)["tags"], err)
	}
}

func TestPasswords(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.insert("consumers", `{"username":"bob"}`)
	at := e.below("consumers", "bob", "basicauth_credentials", "bob")
	put := func(body string) string {
		t.Helper()
		m, err := e.catalog.Upsert(t.Context(), at, doc(t, body))
		if err != nil {
			t.Fatal(err)
		}
		return e.shown("basicauth_credentials", m)["password"].(string)
	}
	hash := put(`{"password":"one"}`)
	head := e.head()
	if put(`{"password":"one"}`) != hash || e.head() != head {
		t.Error("the same password was hashed or written again")
	}
	m, err := e.catalog.Update(t.Context(), at, doc(t, `{"tags":["x"]}`))
	if err != nil || e.shown("basicauth_credentials", m)["password"] != hash {
		t.Errorf("a PATCH without a password changed the hash (%v)", err)
	}
	if put(`{"password":"two"}`) == hash {
		t.Error("another password kept the hash")
	}
	// The hash itself is a password like any other.
	if again := put(mustJSON(map[string]any{"password": hash})); again == hash {
		t.Error("a hash was taken where a password is expected")
	}
	sha1 := strings.Repeat("a", 40)
	if put(mustJSON(map[string]any{"password": sha1})) == sha1 {
		t.Error("Kong's form of a hash was taken where a password is expected")
	}
}

func TestSilentReseal(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.insert("consumers", `{"username":"bob"}`)
	made := e.insert("keyauth_credentials", `{"key":"k","consumer":{"username":"bob"}}`)
	stored, head := e.raw("keyauth_credentials", id(made), "key"), e.head()
	if _, err := e.catalog.Update(t.Context(), e.at("keyauth_credentials", "k"), nil); err != nil {
		t.Fatal(err)
	}
	if e.raw("keyauth_credentials", id(made), "key") != stored {
		t.Error("a PATCH that changes nothing wrote the row")
	}
	key := e.rotate()
	if _, err := e.catalog.Update(t.Context(), e.at("keyauth_credentials", "k"), nil); err != nil {
		t.Fatal(err)
	}
	if now := e.raw("keyauth_credentials", id(made), "key"); !strings.HasPrefix(now, "$ke$1$-"+key) || e.head() != head {
		t.Errorf("sealed as %.20s… at revision %d, want under %s at %d", now, e.head(), key, head)
	}
	if diff := cmp.Diff(made, e.get("keyauth_credentials", "k")); diff != "" {
		t.Errorf("the reseal changed the entity (-before +after):\n%s", diff)
	}
}

func TestCertificateNames(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	body := certificate(t, "a.com")
	made := e.insert("certificates", mustJSON(body("b.com", "a.com", "b.com")))
	names := func() any { return e.get("certificates", id(made))["snis"] }
	if diff := cmp.Diff([]any{"a.com", "b.com"}, names()); diff != "" {
		t.Errorf("after POST (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]any{"a.com", "b.com"}, made["snis"]); diff != "" {
		t.Errorf("answer of POST (-want +got):\n%s", diff)
	}
	if id(e.get("certificates", "b.com")) != id(made) {
		t.Error("not found by its name")
	}
	head := e.head()
	if _, err := e.catalog.Update(t.Context(), e.at("certificates", "b.com"), doc(t, `{"snis":["c.com","b.com"]}`)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{"b.com", "c.com"}, names()); diff != "" || e.head() != head+1 {
		t.Errorf("after PATCH at revision %d (-want +got):\n%s", e.head(), diff)
	}
	if _, err := e.catalog.Upsert(t.Context(), e.at("certificates", id(made)), doc(t, mustJSON(body()))); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{"b.com", "c.com"}, names()); diff != "" {
		t.Errorf("after PUT without names (-want +got):\n%s", diff)
	}
	if err := e.catalog.Delete(t.Context(), e.at("certificates", id(made))); err != nil {
		t.Fatal(err)
	}
	page, err := e.catalog.List(t.Context(), catalog.Query{Table: "snis", Workspace: e.ws})
	if err != nil || len(page.Entities) != 0 {
		t.Errorf("%d names are left (%v)", len(page.Entities), err)
	}
}

func TestConcurrentUpdatesAllCount(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.insert("services", `{"name":"s","host":"h"}`)
	fields := []string{"retries", "connect_timeout", "read_timeout", "write_timeout", "port"}
	var wait sync.WaitGroup
	for _, field := range fields {
		wait.Go(func() {
			if _, err := e.catalog.Update(t.Context(), e.at("services", "s"), schema.Document{field: 7.0}); err != nil {
				t.Errorf("%s: %v", field, err)
			}
		})
	}
	wait.Wait()
	got := e.get("services", "s")
	for _, field := range fields {
		if got[field] != 7.0 {
			t.Errorf("%s = %v: an update was lost", field, got[field])
		}
	}
}

// PUT below another parent moves the entity, as the path says; other verbs do not see it there.
func TestUpsertBelowAnotherParent(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.insert("consumers", `{"username":"alice"}`)
	e.insert("consumers", `{"username":"bob"}`)
	made := e.insert("keyauth_credentials", `{"key":"k","consumer":{"username":"alice"}}`)
	below := e.below("consumers", "bob", "keyauth_credentials", id(made))
	if _, err := e.catalog.Get(t.Context(), below); fault.KindOf(err) != fault.NotFound {
		t.Errorf("Get below another parent = %v", err)
	}
	if err := e.catalog.Delete(t.Context(), below); fault.KindOf(err) != fault.NotFound {
		t.Errorf("Delete below another parent = %v", err)
	}
	if _, err := e.catalog.Upsert(t.Context(), below, doc(t, `{"key":"k"}`)); err != nil {
		t.Fatal(err)
	}
	if m, err := e.catalog.Get(t.Context(), below); err != nil || id(e.shown("keyauth_credentials", m)) != id(made) {
		t.Errorf("after PUT: %v", err)
	}
}

func TestStartIsIdempotent(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws, head := e.ws, e.head()
	e.start()
	if e.ws != ws || e.head() != head {
		t.Errorf("a second start changed workspace %s to %s, revision %d to %d", ws, e.ws, head, e.head())
	}
	rows, err := e.store.List(t.Context(), record.Query{Table: "environments"})
	if err != nil || len(rows) != 1 || !strings.HasPrefix(rows[0].Sealed["fingerprint_key"], "$ke$1$-") {
		t.Errorf("environments = %d rows (%v), want one with a sealed key", len(rows), err)
	}
}
