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

	"github.com/keepgate/keepgate/controlplane/record"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/configset"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/verifier"
)

// strange is a value that was sealed under a key which nobody has.
var strange = "$ke$1$-00000000-" + strings.Repeat("0", 48) + "-" + strings.Repeat("0", 64)

// isKept reports whether data planes are told to keep what they have of an entity.
func isKept(v *version, kind, id string) bool {
	e, found := v.set.Get(kind, id)
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
	ref := record.Ref{Table: "basicauth_credentials", ID: id(e, good.set, "basicauth_credentials")}
	sealed := damage(e, ref, strange)
	e.insert("services", `{"name":"carol","host":"carol.example"}`)
	v := e.caughtUp()
	if !isKept(v, ref.Table, ref.ID) || count(v.set, "services") != 2 {
		t.Error("a row that does not open is not kept, or stops another")
	}
	if kept := e.publisher.Kept(); kept.Rows != 1 || kept.Keys["00000000"] != 1 {
		t.Errorf("kept is %+v", kept)
	}
	delta, err := v.deltaFrom(good)
	e.must(err)
	all, _ := unpack(t, delta)
	for _, put := range all.Puts {
		if put.Kept != (put.Kind == ref.Table) || put.Kept && !saysNothing(put.Body) {
			t.Errorf("the delta carries %s, kept: %v", put.Kind, put.Kept)
		}
	}

	// It opens again, and no revision says so.
	e.sql("UPDATE basicauth_credentials SET password = ? WHERE id = ?", sealed, ref.ID)
	e.eventually("the row is tried again", func() bool {
		v, _ := e.publisher.environments.of(DefaultEnvironment).newest()
		now, _ := v.set.Get(ref.Table, ref.ID)
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
	ref := record.Ref{Table: "basicauth_credentials", ID: id(e, e.caughtUp().set, "basicauth_credentials")}
	sealed := damage(e, ref, strange)
	e.caughtUp()
	store.on.Store(true)
	e.sql("UPDATE basicauth_credentials SET password = ? WHERE id = ?", sealed, ref.ID)
	e.eventually("the row is published again", func() bool { return e.publisher.Kept().Rows == 0 })
	e.stop()
	v, _ := e.publisher.environments.of(DefaultEnvironment).newest()
	if now, _ := v.set.Get(ref.Table, ref.ID); now.Kept || !bytes.Contains(now.Body, []byte("robert")) {
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
	ref := record.Ref{Table: "basicauth_credentials", ID: id(e, e.caughtUp().set, "basicauth_credentials")}
	e.again()
	sealed := damage(e, ref, strange)
	e.run()
	first := e.caughtUp()
	if !isKept(first, ref.Table, ref.ID) || count(first.set, "consumers") != 1 {
		t.Fatal("a start without a key does not publish the rest and keep the row")
	}
	flipped := []byte(sealed)
	flipped[len(flipped)-1] ^= 1
	damage(e, ref, string(flipped)) // damage is no reason to take it either
	if v := e.caughtUp(); !isKept(v, ref.Table, ref.ID) || len(e.publisher.Kept().Keys) != 0 || e.publisher.Kept().Rows != 1 {
		t.Errorf("a damaged row is not kept, kept is %+v", e.publisher.Kept())
	}
	e.delete("consumers", "bob") // and its credential: for that no key is needed
	if v := e.caughtUp(); count(v.set, "consumers")+count(v.set, ref.Table) != 0 || e.publisher.Kept().Rows != 0 {
		t.Errorf("%d entries after the deletion, kept is %+v", v.set.Len(), e.publisher.Kept())
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
	if !isKept(v, "keyauth_credentials", id(e, before.set, "keyauth_credentials")) || !isKept(v, tableFingerprintKeys, id(e, before.set, tableFingerprintKeys)) ||
		count(v.set, "services") != 2 || v.set.Len() != before.set.Len()+1 {
		t.Fatal("a start without the keyring does not keep what it sealed, or stops the rest")
	}
	e.must(os.Rename(e.key+".away", e.key))
	e.must(e.ring.Reload(t.Context()))
	e.feed.Wake()
	e.eventually("all opens again", func() bool { return e.publisher.Kept().Rows == 0 })
	e.delete("services", "carol")
	if v := e.caughtUp(); v.set.Hash() != before.set.Hash() {
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
	first, name := id(e, before.set, "keyauth_credentials"), id(e, before.set, tableFingerprintKeys)
	lost := e.rotate()
	e.keys.set(func(l *losing) { l.missing[lost] = true })
	e.again()
	e.run()
	e.insertBelow("consumers", "bob", "keyauth_credentials", `{"key":"second"}`)
	v := e.caughtUp()
	if kept, _ := v.set.Kept(); kept != 3 || !isKept(v, tableFingerprintKeys, name) {
		t.Fatalf("%d entries are kept while the environment's key is missing, want it and both credentials", kept)
	}

	e.keys.set(func(l *losing) { l.lost[lost] = true })
	e.again()
	e.run()
	v = e.caughtUp()
	var now configv1.FingerprintKey
	for entry := range v.set.All() {
		if entry.Kind == tableFingerprintKeys && !entry.Kept {
			e.must(proto.Unmarshal(entry.Body, &now))
		}
	}
	if len(now.Key) != 32 || now.Id == name || !isKept(v, tableFingerprintKeys, name) {
		t.Fatal("the lost fingerprint key is not kept beside a new one")
	}
	printer := verifier.NewFingerprinter(secret.Take(now.Key)).For("keyauth_credentials", "key")
	if kept, _ := v.set.Kept(); kept != 2 || !isKept(v, "keyauth_credentials", first) {
		t.Errorf("%d entries are kept, want the first credential and its key", kept)
	}
	for entry := range v.set.All() {
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
	if kept, _ := e.caughtUp().set.Kept(); kept != 0 {
		t.Errorf("%d entries are kept after the last that needs it is gone", kept)
	}
}

func TestWhatIsReadableOfAPluginSaysWhereItStands(t *testing.T) {
	t.Parallel()
	w := wire{schema: testSchema()}
	plugin := &configv1.Plugin{Id: new("p"), Name: new("key-auth"), Route: &configv1.Ref{Id: "r"}, Config: []byte("CANARY")}
	body := w.readable(plugin)
	var back configv1.Plugin
	if err := proto.Unmarshal(body, &back); err != nil {
		t.Fatal(err)
	}
	if back.GetName() != "key-auth" || back.GetRoute().GetId() != "r" || bytes.Contains(body, []byte("CANARY")) {
		t.Error("it says something else")
	}
	if w.readable(nil) != nil || w.readable(&configv1.KeyauthCredential{Id: new("k")}) != nil {
		t.Error("something is said of what a data plane needs nothing of")
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

// A kept entry is the same on every node, whatever form a data plane has.
func TestKeptEntriesTravelAsKept(t *testing.T) {
	t.Parallel()
	set := configset.Set{}.Put(configset.Entry{Kind: "plugins", ID: "p", Kept: true, Body: []byte("shell")})
	v := &version{number: 1, set: set, packer: newPacker()}
	chunks, err := v.snapshotTo()
	if err != nil {
		t.Fatal(err)
	}
	all, _ := unpack(t, chunks)
	if len(all.Puts) != 1 || !all.Puts[0].Kept || string(all.Puts[0].Body) != "shell" {
		t.Errorf("it travels as %v", all.Puts)
	}
}
