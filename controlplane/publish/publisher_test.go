package publish

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/publish/versions/versionstest"
	"github.com/keepgate/keepgate/controlplane/publish/wire"
	"github.com/keepgate/keepgate/controlplane/record"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/configset"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/verifier"
)

func TestAChangeTravelsAsItself(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for i := range 50 {
		e.insert("services", fmt.Sprintf(`{"name":"s%d","host":"s%d.example"}`, i, i))
	}
	e.run()
	before := e.caughtUp()
	if before.Set.Len() != 51 || count(before.Set, "services") != 50 {
		t.Fatalf("%d entries, %d services", before.Set.Len(), count(before.Set, "services"))
	}
	snapshot, err := before.Snapshot()
	e.must(err)
	if all, _ := versionstest.Unpack(t, snapshot); len(all.Puts) != 51 || len(all.Deletes) != 0 {
		t.Errorf("the snapshot carries %d and deletes %d", len(all.Puts), len(all.Deletes))
	}

	e.update("services", "s7", `{"host":"other.example"}`)
	e.delete("services", "s8")
	after := e.caughtUp()
	chunks, err := after.DeltaFrom(before)
	e.must(err)
	all, _ := versionstest.Unpack(t, chunks)
	if len(all.Puts) != 1 || len(all.Deletes) != 1 || !bytes.Contains(all.Puts[0].Body, []byte("other.example")) {
		t.Errorf("the delta carries %d puts and %d deletes, want the one and the other", len(all.Puts), len(all.Deletes))
	}
	if head := chunks[0].GetChunk(); !before.Is(head.Base) || !after.Is(head.Target) || head.ExplicitEmpty {
		t.Errorf("the delta says it leads from %v to %v", head.Base, head.Target)
	}
	again, err := after.DeltaFrom(before)
	e.must(err)
	if again[0] != chunks[0] {
		t.Error("a second data plane has the change encoded again")
	}

	e.again()
	e.run()
	loaded := e.caughtUp()
	if loaded.Set.Hash() != after.Set.Hash() || loaded.Epoch != after.Epoch || loaded.Number != after.Number {
		t.Error("reading everything and following lead to different configurations")
	}
}

func TestOnlyWhatAGateNeedsLeaves(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.checks("key-auth", "basic-auth")
	e.insert("consumers", `{"username":"bob"}`)
	e.insertBelow("consumers", "bob", "keyauth_credentials", `{"key":"CANARY-api-key"}`)
	e.insertBelow("consumers", "bob", "basicauth_credentials", `{"username":"bob","password":"CANARY-password"}`)
	e.run()
	first := e.caughtUp()
	e.insertBelow("consumers", "bob", "keyauth_credentials", `{"key":"CANARY-second-key"}`)
	e.update("basicauth_credentials", id(e, first.Set, "basicauth_credentials"), `{"password":"CANARY-other-password"}`)
	second := e.caughtUp()

	snapshot, err := second.Snapshot()
	e.must(err)
	delta, err := second.DeltaFrom(first)
	e.must(err)
	all, plain := versionstest.Unpack(t, snapshot)
	changed, more := versionstest.Unpack(t, delta)
	for what, sent := range map[string][]byte{"snapshot": plain, "delta": more} {
		for _, leak := range []string{"CANARY", "$ke$", "workspaces", "environments", e.key} {
			if bytes.Contains(sent, []byte(leak)) {
				t.Errorf("the %s holds %q", what, leak)
			}
		}
	}
	if len(changed.Puts) != 2 {
		t.Errorf("the delta carries %d entries, want the two that changed", len(changed.Puts))
	}
	var key configv1.FingerprintKey
	wanted := map[string]bool{}
	for _, entry := range all.Puts {
		if entry.Kind == wire.FingerprintKeys {
			e.must(proto.Unmarshal(entry.Body, &key))
		}
	}
	if len(key.Key) != 32 {
		t.Fatal("the environment's fingerprint key is not among the entries")
	}
	printer := verifier.NewFingerprinter(secret.Take(bytes.Clone(key.Key))).For("keyauth_credentials", "key")
	for _, text := range []string{"CANARY-api-key", "CANARY-second-key"} {
		sum := printer.Sum(text)
		wanted[hex.EncodeToString(sum[:])] = true
	}
	for _, entry := range all.Puts {
		switch entry.Kind {
		case "keyauth_credentials":
			var c configv1.KeyauthCredential
			e.must(proto.Unmarshal(entry.Body, &c))
			if c.Key != nil || len(c.Fingerprints) != 1 || !wanted[c.Fingerprints[0]] {
				t.Errorf("key-auth travels with key %v and %d fingerprints", c.Key != nil, len(c.Fingerprints))
			}
			delete(wanted, c.Fingerprints[0])
		case "basicauth_credentials":
			var c configv1.BasicauthCredential
			e.must(proto.Unmarshal(entry.Body, &c))
			if !strings.HasPrefix(c.GetPassword(), "$argon2id$") || c.PasswordCheck != nil {
				t.Errorf("basic-auth travels with a hash: %v, a check: %v", strings.HasPrefix(c.GetPassword(), "$argon2id$"), c.PasswordCheck != nil)
			}
		}
	}
	if len(wanted) != 0 {
		t.Errorf("%d fingerprints never left", len(wanted))
	}
}

// id returns the id of the only entry of a kind.
func id(e *env, set configset.Set, kind string) string {
	e.t.Helper()
	for entry := range set.All() {
		if entry.Kind == kind {
			return entry.ID
		}
	}
	e.t.Fatalf("no entry of %s", kind)
	return ""
}

// damage has the sealed password of a credential changed by somebody who can write the database, as a revision.
func damage(e *env, ref record.Ref, password string) (before string) {
	e.t.Helper()
	ctx := e.t.Context()
	row, err := e.store.Get(ctx, ref.Table, e.ws, ref.ID)
	e.must(err)
	before = row.Sealed["password"]
	row.Sealed["password"] = password
	row.Body = bytes.Replace(row.Body, []byte(`"bob"`), []byte(`"robert"`), 1)
	_, err = e.store.Apply(ctx, record.Batch{Changes: []record.Change{{Row: row, Expect: row.Generation}}})
	e.must(err)
	e.feed.Wake()
	return before
}
