package catalog_test

import (
	"testing"

	"github.com/keepgate/keepgate/controlplane/record"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// environment reads the environment named default, its secret in clear.
func (e *env) environment() *configv1.Environment {
	e.t.Helper()
	rows, err := e.store.List(e.t.Context(), record.Query{Table: "environments"})
	if err != nil || len(rows) != 1 {
		e.t.Fatalf("%d environments, %v", len(rows), err)
	}
	m, err := e.catalog.Open(e.t.Context(), rows[0])
	if err != nil {
		e.t.Fatal(err)
	}
	return m.(*configv1.Environment)
}

// A fingerprint key is random, so that a damaged one is made anew; the name of the one before is kept, for data planes
// that hold it.
func TestADamagedFingerprintKeyIsMadeAnew(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	first := e.environment()
	if first.GetFingerprintKey() == "" || first.GetFingerprintKeyId() == "" || first.FormerFingerprintKeyIds != nil {
		t.Fatal("a new environment has no named key, or one before it")
	}
	names := []string{first.GetFingerprintKeyId()}
	for range 18 {
		e.sql("UPDATE environments SET fingerprint_key = substr(fingerprint_key, 1, length(fingerprint_key) - 1) || CASE substr(fingerprint_key, -1) WHEN '0' THEN '1' ELSE '0' END")
		if err := e.catalog.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		now := e.environment()
		former := now.GetFormerFingerprintKeyIds().GetValues()
		if now.GetFingerprintKey() == first.GetFingerprintKey() || len(former) != min(len(names), 16) || former[0] != names[0] {
			t.Fatalf("the key is the same: %v, former names %v", now.GetFingerprintKey() == first.GetFingerprintKey(), former)
		}
		names = append([]string{now.GetFingerprintKeyId()}, names...)
	}
	again := e.environment()
	if err := e.catalog.Start(t.Context()); err != nil || e.environment().GetFingerprintKeyId() != again.GetFingerprintKeyId() {
		t.Errorf("a sound key was made anew (%v)", err)
	}
}

// A node that is not told to read what others have decrypted leaves their fingerprint key alone: another one would make
// every key-auth key travel anew.
func TestAFingerprintKeyInClearIsNotMadeAnew(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	first := e.environment()
	e.sql("UPDATE environments SET fingerprint_key = '" + first.GetFingerprintKey() + "'")
	if err := e.catalog.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	rows, err := e.store.List(t.Context(), record.Query{Table: "environments"})
	if err != nil || len(rows) != 1 || rows[0].Sealed["fingerprint_key"] != first.GetFingerprintKey() {
		t.Errorf("the key that rested in clear was changed (%d rows, %v)", len(rows), err)
	}
}
