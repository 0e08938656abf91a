package catalog_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

// fill makes one entity of every table that holds a secret, each with the canary in it.
func fill(e *env) (ids map[string]string) {
	e.insert("consumers", `{"username":"bob"}`)
	cert, key := selfSigned("c.com", false)
	ids = map[string]string{
		"keyauth_credentials":   id(e.insert("keyauth_credentials", `{"key":"canary-7f3a-key","consumer":{"username":"bob"}}`)),
		"basicauth_credentials": id(e.insert("basicauth_credentials", `{"username":"bob","password":"canary-7f3a-password","consumer":{"username":"bob"}}`)),
		"certificates":          id(e.insert("certificates", mustJSON(map[string]any{"cert": cert, "key": key}))),
	}
	return ids
}

func TestNoSecretRestsInClear(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ids := fill(e)
	hash := e.get("basicauth_credentials", "bob")["password"].(string)
	pemKey := e.get("certificates", ids["certificates"])["key"].(string)
	var fingerprintKey string
	rows, err := e.store.List(t.Context(), record.Query{Table: "environments"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := e.catalog.Open(t.Context(), rows[0])
	if err != nil {
		t.Fatal(err)
	}
	fingerprintKey = m.ProtoReflect().Get(m.ProtoReflect().Descriptor().Fields().ByName("fingerprint_key")).String()
	for table, columns := range map[string][]string{
		"keyauth_credentials": {"key"}, "basicauth_credentials": {"password", "password_check"}, "certificates": {"key"},
	} {
		for _, column := range columns {
			if text := e.raw(table, ids[table], column); !strings.HasPrefix(text, "$ke$1$-") {
				t.Errorf("%s.%s rests as %.10s…", table, column, text)
			}
		}
	}
	raw, err := base64.StdEncoding.DecodeString(fingerprintKey)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(pemKey, "\n")
	canaries := [][]byte{[]byte("canary-7f3a"), []byte(hash), []byte(lines[1][:40]), []byte(fingerprintKey), raw}
	files, err := filepath.Glob(e.path + "*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, canary := range canaries {
			for form, text := range forms(canary) {
				if bytes.Contains(data, text) {
					t.Errorf("%s holds secret %d as %s", filepath.Base(file), i, form)
				}
			}
		}
	}
}

// forms are the ways in which bytes may hide in a file. Base64 has three alignments.
func forms(data []byte) map[string][]byte {
	found := map[string][]byte{
		"bytes": data, "hex": []byte(hex.EncodeToString(data)), "HEX": []byte(strings.ToUpper(hex.EncodeToString(data))),
	}
	for i := range 3 {
		text := base64.StdEncoding.EncodeToString(append(make([]byte, i), data...))
		found["base64 at "+string(rune('0'+i))] = []byte(text[4 : len(text)-4])
	}
	return found
}

func TestMovedValuesDoNotOpen(t *testing.T) {
	t.Parallel()
	tests := map[string]func(e *env, ids map[string]string) (table, key string){
		"to another row": func(e *env, ids map[string]string) (string, string) {
			other := id(e.insert("keyauth_credentials", `{"consumer":{"username":"bob"}}`))
			e.sql(`update keyauth_credentials set key = (select key from keyauth_credentials where id = ?) where id = ?`, ids["keyauth_credentials"], other)
			return "keyauth_credentials", other
		},
		"to another column": func(e *env, ids map[string]string) (string, string) {
			e.sql(`update basicauth_credentials set password = password_check`)
			return "basicauth_credentials", ids["basicauth_credentials"]
		},
		"to another table": func(e *env, ids map[string]string) (string, string) {
			e.sql(`update keyauth_credentials set key = (select password from basicauth_credentials)`)
			return "keyauth_credentials", ids["keyauth_credentials"]
		},
		"to another workspace": func(e *env, ids map[string]string) (string, string) {
			m, err := e.catalog.Insert(e.t.Context(), e.at("workspaces", ""), map[string]any{"name": "other"})
			if err != nil {
				e.t.Fatal(err)
			}
			e.ws = id(e.shown("workspaces", m))
			e.sql(`update keyauth_credentials set workspace = ?`, e.ws)
			return "keyauth_credentials", ids["keyauth_credentials"]
		},
		"replaced by a plaintext": func(e *env, ids map[string]string) (string, string) {
			e.sql(`update keyauth_credentials set key = 'attacker'`)
			return "keyauth_credentials", ids["keyauth_credentials"]
		},
		"one digit changed": func(e *env, ids map[string]string) (string, string) {
			text := e.raw("keyauth_credentials", ids["keyauth_credentials"], "key")
			last := "0"
			if strings.HasSuffix(text, "0") {
				last = "1"
			}
			e.sql(`update keyauth_credentials set key = ?`, text[:len(text)-1]+last)
			return "keyauth_credentials", ids["keyauth_credentials"]
		},
	}
	for name, move := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			ids := fill(e)
			table, key := move(e, ids)
			_, err := e.catalog.Get(t.Context(), e.at(table, key))
			if fault.KindOf(err) != fault.Corrupt || strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "attacker") {
				t.Fatalf("Get = %v, want corrupt, without values", err)
			}
			page, err := e.catalog.List(t.Context(), catalog.Query{Table: table, Workspace: e.ws})
			if err != nil || len(page.Undecryptable) != 1 || page.Undecryptable[0].ID != key {
				t.Errorf("List names %+v, %v, want %s", page.Undecryptable, err, key)
			}
			if _, err := e.catalog.Update(t.Context(), e.at(table, key), nil); fault.KindOf(err) != fault.Corrupt {
				t.Errorf("Update = %v, want corrupt", err)
			}
			if err := e.catalog.Delete(t.Context(), e.at(table, key)); err != nil {
				t.Errorf("Delete = %v", err)
			}
		})
	}
}

func TestMissingKey(t *testing.T) {
	t.Parallel()
	e := forgetful(t)
	ids := fill(e)
	lost := e.ring.Keys().Active
	e.start() // memory forgets
	at := e.at("keyauth_credentials", ids["keyauth_credentials"])
	var calls map[string]error
	var page catalog.Page
	var listErr error
	quickest := time.Hour // of some, since the machine may be busy
	for tries := 0; tries < 100 && quickest > 100*time.Millisecond; tries++ {
		start := time.Now()
		calls = map[string]error{
			"Get":               second(e.catalog.Get(t.Context(), at)),
			"Get by key":        second(e.catalog.Get(t.Context(), e.at("keyauth_credentials", "canary-7f3a-key"))),
			"Update":            second(e.catalog.Update(t.Context(), at, nil)),
			"insert a key":      second(e.catalog.Insert(t.Context(), e.below("consumers", "bob", "keyauth_credentials", ""), doc(t, `{"key":"new"}`))),
			"insert a password": second(e.catalog.Insert(t.Context(), e.below("consumers", "bob", "basicauth_credentials", ""), doc(t, `{"username":"x","password":"y"}`))),
		}
		page, listErr = e.catalog.List(t.Context(), catalog.Query{Table: "keyauth_credentials", Workspace: e.ws})
		quickest = min(quickest, time.Since(start))
	}
	for name, err := range calls {
		if fault.KindOf(err) != fault.Unavailable || fault.SubjectOf(err) != "key/"+lost {
			t.Errorf("%s = %v, want unavailable key/%s", name, err, lost)
		}
	}
	if listErr != nil || len(page.Entities) != 0 || len(page.Undecryptable) != 1 || fault.SubjectOf(page.Undecryptable[0].Err) != "key/"+lost {
		t.Errorf("List = %+v, %v", page, listErr)
	}
	if quickest > 100*time.Millisecond {
		t.Errorf("%d calls took %v, want under 100 ms", len(calls)+1, quickest)
	}
	if _, err := e.catalog.Insert(t.Context(), e.at("services", ""), doc(t, `{"host":"h"}`)); err != nil {
		t.Errorf("what holds no secret is not written: %v", err)
	}
}

// With a new key an operator can go on: rows of the lost key are replaced as a whole.
func TestReplacingAnUndecryptableRow(t *testing.T) {
	t.Parallel()
	e := forgetful(t)
	ids := fill(e)
	e.start()
	e.rotate()
	cert, key := selfSigned("c.com", false)
	at := e.at("certificates", ids["certificates"])
	if _, err := e.catalog.Upsert(t.Context(), at, doc(t, mustJSON(map[string]any{"cert": cert, "key": key}))); err != nil {
		t.Fatal(err)
	}
	if got := e.get("certificates", ids["certificates"]); got["key"] != key {
		t.Error("the replaced certificate has another key")
	}
}

func TestForgottenKeyOfAnEmptyDatabase(t *testing.T) {
	t.Parallel()
	e := forgetful(t)
	lost := e.ring.Keys().Active
	e.insert("services", `{"host":"h"}`) // nothing secret in it
	e.start()
	if active := e.ring.Keys().Active; active == "" || active == lost {
		t.Fatalf("active key %q after %q was lost with nothing sealed under it", active, lost)
	}
	fill(e)
	rows, err := e.store.List(t.Context(), record.Query{Table: "environments"})
	if err != nil || len(rows) != 1 || !strings.Contains(rows[0].Sealed["fingerprint_key"], e.ring.Keys().Active) {
		t.Errorf("the environment's key was not made anew (%v)", err)
	}
}
