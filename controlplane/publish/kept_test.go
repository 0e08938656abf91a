package publish

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/publish/versions"
	"github.com/keepgate/keepgate/controlplane/publish/versions/versionstest"
	"github.com/keepgate/keepgate/controlplane/publish/wire"
	"github.com/keepgate/keepgate/controlplane/record"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/verifier"
)

// strange is a value that was sealed under a key which nobody has.
var strange = "$ke$1$-00000000-" + strings.Repeat("0", 48) + "-" + strings.Repeat("0", 64)

// isKept reports whether data planes are told to keep what they have of an entity.
func isKept(v *versions.Version, kind, id string) bool {
	e, found := v.Set.Get(kind, id)
	return found && e.Kept && saysNothing(e.Body)
}

// saysNothing is what a row that does not open may say: to which workspace it belongs, if to any.
func saysNothing(body []byte) bool {
	placed := &syncv1.Placed{}
	return proto.Unmarshal(body, placed) == nil && len(placed.ProtoReflect().GetUnknown()) == 0
}

func TestARowThatStopsToOpenIsKept(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.checks("basic-auth")
	e.insert("consumers", `{"username":"bob"}`)
	e.insertBelow("consumers", "bob", "basicauth_credentials", `{"username":"bob","password":"one"}`)
	e.run()
	good := e.caughtUp()
	ref := record.Ref{Table: "basicauth_credentials", ID: id(e, good.Set, "basicauth_credentials")}
	sealed := damage(e, ref, strange)
	e.insert("services", `{"name":"carol","host":"carol.example"}`)
	v := e.caughtUp()
	if !isKept(v, ref.Table, ref.ID) || count(v.Set, "services") != 2 {
		t.Error("a row that does not open is not kept, or stops another")
	}
	if kept := e.publisher.Kept(); kept.Rows != 1 || kept.Keys["00000000"] != 1 {
		t.Errorf("kept is %+v", kept)
	}
	delta, err := v.DeltaFrom(good)
	e.must(err)
	all, _ := versionstest.Unpack(t, delta)
	for _, put := range all.Puts {
		if put.Kept != (put.Kind == ref.Table) || put.Kept && !saysNothing(put.Body) {
			t.Errorf("the delta carries %s, kept: %v", put.Kind, put.Kept)
		}
	}

	// It opens again, and no revision says so.
	e.sql("UPDATE basicauth_credentials SET password = ? WHERE id = ?", sealed, ref.ID)
	e.eventually("the row is tried again", func() bool {
		v, _ := e.publisher.environments.Of(wire.DefaultEnvironment).Newest()
		now, _ := v.Set.Get(ref.Table, ref.ID)
		return !now.Kept && bytes.Contains(now.Body, []byte("robert"))
	})
	if kept := e.publisher.Kept(); kept.Rows != 0 || len(kept.Keys) != 0 {
		t.Errorf("kept is %+v", kept)
	}
}

// busy is a database in which somebody writes something else whenever a credential has been read.
type busy struct {
	Store
	write func()
	on    atomic.Bool
}

func (b *busy) Get(ctx context.Context, table, workspace, id string) (record.Row, error) {
	row, err := b.Store.Get(ctx, table, workspace, id)
	if b.on.Load() && table == "basicauth_credentials" {
		b.write()
	}
	return row, err
}

func TestARowThatOpensAgainIsPublishedUnderWrites(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.checks("basic-auth")
	e.insert("consumers", `{"username":"bob"}`)
	e.insertBelow("consumers", "bob", "basicauth_credentials", `{"username":"bob","password":"one"}`)
	writes := 0
	store := &busy{Store: e.publisher.store, write: func() {
		writes++
		e.insert("services", fmt.Sprintf(`{"name":"carol-%d","host":"carol.example"}`, writes))
	}}
	e.publisher.store = store
	e.run()
	ref := record.Ref{Table: "basicauth_credentials", ID: id(e, e.caughtUp().Set, "basicauth_credentials")}
	sealed := damage(e, ref, strange)
	e.caughtUp()
	store.on.Store(true)
	e.sql("UPDATE basicauth_credentials SET password = ? WHERE id = ?", sealed, ref.ID)
	e.eventually("the row is published again", func() bool { return e.publisher.Kept().Rows == 0 })
	e.stop()
	v, _ := e.publisher.environments.Of(wire.DefaultEnvironment).Newest()
	if now, _ := v.Set.Get(ref.Table, ref.ID); now.Kept || !bytes.Contains(now.Body, []byte("robert")) {
		t.Errorf("the row is published as kept: %v", now.Kept)
	}
}

func TestAStartWithoutAKeyPublishesTheRest(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.checks("basic-auth")
	e.insert("consumers", `{"username":"bob"}`)
	e.insertBelow("consumers", "bob", "basicauth_credentials", `{"username":"bob","password":"one"}`)
	e.run()
	ref := record.Ref{Table: "basicauth_credentials", ID: id(e, e.caughtUp().Set, "basicauth_credentials")}
	e.again()
	sealed := damage(e, ref, strange)
	e.run()
	first := e.caughtUp()
	if !isKept(first, ref.Table, ref.ID) || count(first.Set, "consumers") != 1 {
		t.Fatal("a start without a key does not publish the rest and keep the row")
	}
	flipped := []byte(sealed)
	flipped[len(flipped)-1] ^= 1
	damage(e, ref, string(flipped)) // damage is no reason to take it either
	if v := e.caughtUp(); !isKept(v, ref.Table, ref.ID) || len(e.publisher.Kept().Keys) != 0 || e.publisher.Kept().Rows != 1 {
		t.Errorf("a damaged row is not kept, kept is %+v", e.publisher.Kept())
	}
	e.delete("consumers", "bob") // and its credential: for that no key is needed
	if v := e.caughtUp(); count(v.Set, "consumers")+count(v.Set, ref.Table) != 0 || e.publisher.Kept().Rows != 0 {
		t.Errorf("%d entries after the deletion, kept is %+v", v.Set.Len(), e.publisher.Kept())
	}
}

func TestAStartWithoutTheKeyring(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.checks("key-auth")
	e.insert("consumers", `{"username":"bob"}`)
	e.insertBelow("consumers", "bob", "keyauth_credentials", `{"key":"a-key"}`)
	e.run()
	before := e.caughtUp()
	e.must(os.Rename(e.key, e.key+".away"))
	e.again()
	e.run()
	e.insert("services", `{"name":"carol","host":"carol.example"}`)
	v := e.caughtUp()
	if !isKept(v, "keyauth_credentials", id(e, before.Set, "keyauth_credentials")) || !isKept(v, wire.FingerprintKeys, id(e, before.Set, wire.FingerprintKeys)) ||
		count(v.Set, "services") != 2 || v.Set.Len() != before.Set.Len()+1 {
		t.Fatal("a start without the keyring does not keep what it sealed, or stops the rest")
	}
	e.must(os.Rename(e.key+".away", e.key))
	e.must(e.ring.Reload(t.Context()))
	e.feed.Wake()
	e.eventually("all opens again", func() bool { return e.publisher.Kept().Rows == 0 })
	e.delete("services", "carol")
	if v := e.caughtUp(); v.Set.Hash() != before.Set.Hash() {
		t.Error("the configuration is another one after the keyring came back")
	}
}

// What was fingerprinted under a key that is lost goes on with that key where it does not open to be fingerprinted anew.
func TestALostFingerprintKeyIsKeptByName(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.checks("key-auth")
	e.insert("consumers", `{"username":"bob"}`)
	e.insertBelow("consumers", "bob", "keyauth_credentials", `{"key":"first"}`)
	e.run()
	before := e.caughtUp()
	first, name := id(e, before.Set, "keyauth_credentials"), id(e, before.Set, wire.FingerprintKeys)
	lost := e.rotate()
	e.keys.set(func(l *losing) { l.missing[lost] = true })
	e.again()
	e.run()
	e.insertBelow("consumers", "bob", "keyauth_credentials", `{"key":"second"}`)
	v := e.caughtUp()
	if kept, _ := v.Set.Kept(); kept != 3 || !isKept(v, wire.FingerprintKeys, name) {
		t.Fatalf("%d entries are kept while the environment's key is missing, want it and both credentials", kept)
	}

	e.keys.set(func(l *losing) { l.lost[lost] = true })
	e.again()
	e.run()
	v = e.caughtUp()
	var now configv1.FingerprintKey
	for entry := range v.Set.All() {
		if entry.Kind == wire.FingerprintKeys && !entry.Kept {
			e.must(proto.Unmarshal(entry.Body, &now))
		}
	}
	if len(now.Key) != 32 || now.Id == name || !isKept(v, wire.FingerprintKeys, name) {
		t.Fatal("the lost fingerprint key is not kept beside a new one")
	}
	printer := verifier.NewFingerprinter(secret.Take(now.Key)).For("keyauth_credentials", "key")
	if kept, _ := v.Set.Kept(); kept != 2 || !isKept(v, "keyauth_credentials", first) {
		t.Errorf("%d entries are kept, want the first credential and its key", kept)
	}
	for entry := range v.Set.All() {
		var credential configv1.KeyauthCredential
		if entry.Kind != "keyauth_credentials" || entry.ID == first {
			continue
		}
		e.must(proto.Unmarshal(entry.Body, &credential))
		if sum := printer.Sum("second"); credential.Fingerprints[0] != hex.EncodeToString(sum[:]) {
			t.Error("the second credential was not fingerprinted anew")
		}
	}
	e.delete("keyauth_credentials", first)
	if kept, _ := e.caughtUp().Set.Kept(); kept != 0 {
		t.Errorf("%d entries are kept after the last that needs it is gone", kept)
	}
}

func TestStuckRowsAreCountedByCause(t *testing.T) {
	t.Parallel()
	s := newStuck()
	a, b := record.Ref{Table: "t", ID: "a"}, record.Ref{Table: "t", ID: "b"}
	if !s.add(a, "k1") || !s.add(b, "k1") || s.add(a, "k1") || !s.add(a, "") {
		t.Error("add does not tell what is new")
	}
	if c := s.count(); c.Rows != 2 || c.Keys["k1"] != 1 || len(c.Keys) != 1 || s.tables["t"] != 2 {
		t.Errorf("counted %+v, %v", c, s.tables)
	}
	s.remove(a)
	s.remove(a)
	s.remove(b)
	if c := s.count(); c.Rows != 0 || len(s.rows) != 0 || len(s.tables) != 0 {
		t.Errorf("left: %+v, %v, %v", c, s.rows, s.tables)
	}
}
