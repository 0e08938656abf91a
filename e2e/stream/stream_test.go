package stream_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/fleet"
	"github.com/keepgate/keepgate/controlplane/publish/epoch"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
)

const (
	snapshotKind = syncv1.UpdateKind_UPDATE_KIND_SNAPSHOT
	deltaKind    = syncv1.UpdateKind_UPDATE_KIND_DELTA
)

// kinds says what an exchange consisted of: "S" for each chunk of a snapshot, "D" for each of a delta.
func kinds(chunks []*syncv1.Chunk) (text string) {
	for _, c := range chunks {
		text += map[syncv1.UpdateKind]string{snapshotKind: "S", deltaKind: "D"}[c.Kind]
	}
	return text
}

func expect(t *testing.T, cp *controlPlane, when, want string) {
	t.Helper()
	if got := kinds(cp.wire.sent()); got != want {
		t.Errorf("%s: sent %q, want %q", when, got, want)
	}
}

func TestSnapshotThenDeltas(t *testing.T) {
	t.Parallel()
	cp := newControlPlane(t)
	cp.service("bob")
	cp.caughtUp()
	dp := cp.linked("edge-1")
	expect(t, cp, "a new data plane", "S")
	cp.service("carol")
	cp.holds(dp)
	expect(t, cp, "one change", "D")
	cp.remove("services", "bob")
	cp.holds(dp)
	expect(t, cp, "one deletion", "D")

	dp.restart()
	cp.holds(dp)
	expect(t, cp, "a restart with nothing new", "")
	dp.stop()
	cp.service("dave")
	cp.service("erin")
	cp.caughtUp()
	dp.start()
	cp.holds(dp)
	expect(t, cp, "a restart with something new", "D")

	cp.restart()
	cp.holds(dp)
	expect(t, cp, "a restart of the control plane", "")
	cp.service("frank")
	cp.holds(dp)
	expect(t, cp, "a change after it", "D")
	if s := cp.status(dp); !s.Linked || s.Hostname != "host" || s.Serial == "" || s.IP != "127.0.0.1" {
		t.Errorf("the fleet says %+v", s)
	}
}

func TestWhatDoesNotFitIsFollowedByASnapshot(t *testing.T) {
	t.Parallel()
	tests := map[string]func(c *syncv1.Chunk){
		"a corrupt chunk":      func(c *syncv1.Chunk) { c.Payload[len(c.Payload)/2] ^= 0xff },
		"an unknown base":      func(c *syncv1.Chunk) { c.Base.Hash[0] ^= 1 },
		"a cut-off payload":    func(c *syncv1.Chunk) { c.Payload = c.Payload[:len(c.Payload)-1] },
		"a chunk that is lost": func(c *syncv1.Chunk) { c.Number = 1 },
		"a wrong target":       func(c *syncv1.Chunk) { c.Payload = bytes.Clone(emptyFrame) },
	}
	for name, harm := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cp := newControlPlane(t)
			cp.service("bob")
			cp.caughtUp()
			dp := cp.linked("edge-1")
			cp.wire.sent()
			cp.wire.meddle(func(c *syncv1.Chunk) *syncv1.Chunk {
				if c.Kind == deltaKind {
					c = proto.CloneOf(c)
					harm(c)
				}
				return c
			})
			cp.service("carol")
			cp.holds(dp)
			expect(t, cp, "a delta that was harmed", "DS")
			cp.wire.meddle(nil)
			cp.service("dave")
			cp.holds(dp)
			expect(t, cp, "the next change", "D")
		})
	}
}

// emptyFrame is a zstd frame of nothing.
var emptyFrame = []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x00, 0x01, 0x00, 0x00}

func TestARefusedSnapshotWaitsForTheNextVersion(t *testing.T) {
	t.Parallel()
	cp := newControlPlane(t).beating(lively)
	cp.service("bob")
	cp.caughtUp()
	cp.wire.meddle(func(c *syncv1.Chunk) *syncv1.Chunk {
		c = proto.CloneOf(c)
		c.Payload = []byte("garbage")
		return c
	})
	dp := cp.dataPlane(defaultLeaf("edge-1"))
	dp.start()
	eventually(t, "the fleet shows the refusal", func() bool { return cp.status(dp).SyncStatus == fleet.Refused })
	time.Sleep(2 * cp.heartbeat)
	expect(t, cp, "a snapshot that cannot be read", "S") // and not again and again
	if s := cp.status(dp); s.Refusal == "" || s.Ready {
		t.Errorf("the fleet says %+v", s)
	}
	cp.wire.meddle(nil)
	cp.service("carol")
	cp.holds(dp)
}

func TestAFullDisk(t *testing.T) {
	t.Parallel()
	cp := newControlPlane(t)
	cp.retry = 300 * time.Millisecond
	cp.restart()
	cp.service("bob")
	cp.caughtUp()
	dp := cp.linked("edge-1")
	before := dp.state()
	dp.diskFull.Store(true)
	cp.service("carol")
	eventually(t, "the fleet shows the refusal", func() bool { return cp.status(dp).SyncStatus == fleet.Refused })
	if dp.state().Set.Hash() != before.Set.Hash() {
		t.Error("something is served that is not durable")
	}
	dp.diskFull.Store(false)
	cp.holds(dp) // without another version
	dp.restart()
	if _, _, hash := cp.caughtUp(); dp.state().Set.Hash() != hash {
		t.Error("a restart begins with something else")
	}
}

func TestASlowCompileAndASilentLink(t *testing.T) {
	t.Parallel()
	cp := newControlPlane(t).beating(lively)
	dp := cp.linked("edge-1")
	dp.slow.Store((4 * cp.heartbeat).Milliseconds())
	cp.service("bob")
	cp.holds(dp)
	if dp.log.has("no link to the control plane") {
		t.Error("a slow compile cost the link")
	}
	dp.slow.Store(0)
	cp.wire.hold.Store(true)
	eventually(t, "the data plane drops the silent link", func() bool { return dp.log.has("silent for three heartbeats") })
	cp.wire.hold.Store(false)
	cp.service("carol")
	cp.holds(dp)
}

func TestTheControlPlaneGoesAndComes(t *testing.T) {
	t.Parallel()
	cp := newControlPlane(t)
	cp.service("bob")
	dp := cp.linked("edge-1")
	cp.stop()
	eventually(t, "the data plane notices", func() bool { return !dp.link.Connected() })
	dp.restart()
	if _, ok := dp.applier.Held(); !ok {
		t.Fatal("a restart without a control plane serves nothing")
	}
	cp.start()
	cp.service("carol")
	cp.holds(dp)
}

func TestARestoredDatabase(t *testing.T) {
	t.Parallel()
	cp := newControlPlane(t).beating(lively)
	cp.service("bob")
	cp.caughtUp()
	cp.stop()
	backup := map[string][]byte{}
	for _, name := range []string{"keep.db", "keep.db-wal"} {
		if data, err := os.ReadFile(filepath.Join(cp.folder, name)); err == nil {
			backup[name] = data
		}
	}
	cp.start()
	cp.service("carol")
	cp.service("dave")
	dp := cp.linked("edge-1")
	newest := dp.state()
	cp.stop()
	for _, name := range []string{"keep.db", "keep.db-wal", "keep.db-shm"} {
		_ = os.Remove(filepath.Join(cp.folder, name))
		if data, ok := backup[name]; ok {
			cp.must(os.WriteFile(filepath.Join(cp.folder, name), data, 0o600))
		}
	}
	cp.start()
	eventually(t, "the fleet says that the data plane is ahead", func() bool { return cp.status(dp).SyncStatus == fleet.Ahead })
	time.Sleep(3 * cp.heartbeat)
	if dp.state().Set.Hash() != newest.Set.Hash() || cp.status(dp).SyncStatus != fleet.Ahead {
		t.Fatal("the data plane stepped back unasked")
	}
	if _, err := epoch.Raise(t.Context(), cp.store); err != nil {
		t.Fatal(err)
	}
	cp.publisher.Reload()
	eventually(t, "the data plane takes the restored configuration", func() bool { return dp.state().Epoch > newest.Epoch })
	cp.holds(dp)
}

func TestANewDatabaseDoesNotEmptyADataPlane(t *testing.T) {
	t.Parallel()
	cp := newControlPlane(t)
	cp.service("bob")
	dp := cp.linked("edge-1")
	full := dp.state()
	cp.stop()
	time.Sleep(time.Second) // epochs begin at the clock's second
	cp.folder = t.TempDir()
	cp.start()
	eventually(t, "the fleet shows the refusal", func() bool { return cp.status(dp).SyncStatus == fleet.Refused })
	if dp.state().Set.Hash() != full.Set.Hash() {
		t.Fatal("an empty configuration that nobody asked for was taken")
	}
	cp.service("carol")
	cp.holds(dp)
	cp.remove("services", "carol") // the last entity: this is asked for
	cp.holds(dp)
	if n := dp.state().Set.Len(); n != 1 {
		t.Errorf("%d entries left, want the fingerprint key", n)
	}
}
