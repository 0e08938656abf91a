package reencrypt_test

import (
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/reencrypt"
)

// A node that lacks what it would write with leaves the job to one that has it, and a node that is alone waits.
func TestANodeThatCannotWriteLeavesTheJobToOthers(t *testing.T) {
	engines(t, func(t *testing.T, e *env) {
		e.start(encryption.Options{})
		e.fillKeys("k", 20)
		before := e.values()
		fresh := e.rotate()

		poor := newRing() // another node's, where the active key is missing
		poor.keys, poor.active = e.ring.keys, fresh
		poor.lose(fresh, true)
		rich, richly := e.cipher, e.catalog
		starter := reencrypt.New(e.store, richly, rich, "starter", reencrypt.Options{}) // it does not work itself
		var err error
		if e.cipher, err = encryption.New(t.Context(), e.store, encryption.FromSettings(poor, encryption.Options{})); err != nil {
			t.Fatal(err)
		}
		e.catalog = catalogOf(e)
		first := e.run("first", reencrypt.Options{HandOver: time.Millisecond})
		e.cipher, e.catalog = rich, richly
		if _, err := starter.Start(t.Context(), reencrypt.Request{}); err != nil {
			t.Fatal(err)
		}
		e.await(first, "waiting", func(p reencrypt.Progress) bool { return p.Waiting != "" && p.Node == "first" })
		second := e.run("second", reencrypt.Options{HandOver: time.Hour})
		p := e.awaitDone(second)
		if p.Unreadable != 0 || p.Waiting != "" {
			t.Errorf("progress %+v", p)
		}
		e.same(before)
		if rows := e.under(); rows[fresh] != 21 || len(rows) != 1 {
			t.Errorf("rows under keys: %v", rows)
		}
	})
}

// catalogOf is a catalog of the environment's present cipher.
func catalogOf(e *env) *catalog.Catalog {
	return catalog.New(e.store, e.schema, e.cipher, catalog.Options{})
}
