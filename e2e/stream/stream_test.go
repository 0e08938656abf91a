package stream_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/fleet"
	"github.com/keepgate/keepgate/controlplane/publish"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
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
	cp.consumer("bob")
	cp.caughtUp()
	dp := cp.linked("edge-1")
	expect(t, cp, "a new data plane", "S")
	cp.consumer("carol")
	cp.holds(dp)
	expect(t, cp, "one change", "D")
	cp.remove("consumers", "bob")
	cp.holds(dp)
	expect(t, cp, "one deletion", "D")

	dp.restart()
	cp.holds(dp)
	expect(t, cp, "a restart with nothing new", "")
	dp.stop()
	cp.consumer("dave")
	cp.consumer("erin")
	cp.caughtUp()
	dp.start()
	cp.holds(dp)
	expect(t, cp, "a restart with something new", "D")

	cp.restart()
	cp.holds(dp)
	expect(t, cp, "a restart of the control plane", "")
	cp.consumer("frank")
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
			cp.consumer("bob")
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
			cp.consumer("carol")
			cp.holds(dp)
			expect(t, cp, "a delta that was harmed", "DS")
			cp.wire.meddle(nil)
			cp.consumer("dave")
			cp.holds(dp)
			expect(t, cp, "the next change", "D")
		})
	}
}

// emptyFrame is a zstd frame of nothing.
var emptyFrame = []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x00, 0x01, 0x00, 0x00}

func TestARefusedSnapshotWaitsForTheNextVersion(t *testing.T) {
	t.Parallel()
	cp := newControlPlane(t)
	cp.consumer("bob")
	cp.caughtUp()
	cp.wire.meddle(func(c *syncv1.Chunk) *syncv1.Chunk {
		c = proto.CloneOf(c)
		c.Payload = []byte("garbage")
		return c
	})
	dp := cp.dataPlane(defaultLeaf("edge-1"))
	dp.start()
	eventually(t, "the fleet shows the refusal", func() bool { return cp.status(dp).SyncStatus == fleet.Refused })
	time.Sleep(5 * cp.heartbeat)
	expect(t, cp, "a snapshot that cannot be read", "S") // and not again and again
	if s := cp.status(dp); s.Refusal == "" || s.Ready {
		t.Errorf("the fleet says %+v", s)
	}
	cp.wire.meddle(nil)
	cp.consumer("carol")
	cp.holds(dp)
}

func TestAFullDisk(t *testing.T) {
	t.Parallel()
	cp := newControlPlane(t)
	cp.retry = 300 * time.Millisecond
	cp.restart()
	cp.consumer("bob")
	cp.caughtUp()
	dp := cp.linked("edge-1")
	before := dp.state()
	dp.diskFull.Store(true)
	cp.consumer("carol")
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
	cp := newControlPlane(t)
	dp := cp.linked("edge-1")
	dp.slow.Store((8 * cp.heartbeat).Milliseconds())
	cp.consumer("bob")
	cp.holds(dp)
	if dp.log.has("no link to the control plane") {
		t.Error("a slow compile cost the link")
	}
	dp.slow.Store(0)
	cp.wire.hold.Store(true)
	eventually(t, "the data plane drops the silent link", func() bool { return dp.log.has("silent for three heartbeats") })
	cp.wire.hold.Store(false)
	cp.consumer("carol")
	cp.holds(dp)
}

func TestTheControlPlaneGoesAndComes(t *testing.T) {
	t.Parallel()
	cp := newControlPlane(t)
	cp.consumer("bob")
	dp := cp.linked("edge-1")
	cp.stop()
	eventually(t, "the data plane notices", func() bool { return !dp.link.Connected() })
	dp.restart()
	if _, ok := dp.applier.Held(); !ok {
		t.Fatal("a restart without a control plane serves nothing")
	}
	cp.start()
	cp.consumer("carol")
	cp.holds(dp)
}

func TestARestoredDatabase(t *testing.T) {
	t.Parallel()
	cp := newControlPlane(t)
	cp.consumer("bob")
	cp.caughtUp()
	cp.stop()
	backup := map[string][]byte{}
	for _, name := range []string{"keep.db", "keep.db-wal"} {
		if data, err := os.ReadFile(filepath.Join(cp.folder, name)); err == nil {
			backup[name] = data
		}
	}
	cp.start()
	cp.consumer("carol")
	cp.consumer("dave")
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
	if _, err := publish.RaiseEpoch(t.Context(), cp.store); err != nil {
		t.Fatal(err)
	}
	cp.publisher.Reload()
	eventually(t, "the data plane takes the restored configuration", func() bool { return dp.state().Epoch > newest.Epoch })
	cp.holds(dp)
}

func TestANewDatabaseDoesNotEmptyADataPlane(t *testing.T) {
	t.Parallel()
	cp := newControlPlane(t)
	cp.consumer("bob")
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
	cp.consumer("carol")
	cp.holds(dp)
	cp.remove("consumers", "carol") // the last entity: this is asked for
	cp.holds(dp)
	if n := dp.state().Set.Len(); n != 1 {
		t.Errorf("%d entries left, want the fingerprint key", n)
	}
}

func TestWhoMayNotLink(t *testing.T) {
	t.Parallel()
	cp := newControlPlane(t)
	cp.consumer("bob")
	other := defaultLeaf("edge-1")
	other.Identity.Environment = "other"
	dp := cp.dataPlane(other)
	dp.start()
	eventually(t, "the data plane is told why", func() bool {
		return dp.log.has(`there is no environment \\\"other\\\"`) || dp.log.has("there is no environment")
	})
	if _, holds := dp.applier.Held(); holds || len(cp.wire.sent()) > 0 {
		t.Error("a data plane of another environment was sent something")
	}
	admin := cp.dataPlane(mtlstest.Leaf{Identity: mtls.Identity{Role: mtls.Admin, Organisation: "default", Name: "root"}})
	admin.start()
	stranger := cp.dataPlane(defaultLeaf("edge-2"))
	foreign := mtlstest.NewCA(t, "elsewhere")
	stranger.files = foreign.Files(t, foreign.Issue(t, defaultLeaf("edge-2")))
	stranger.start()
	for _, dp := range []*dataPlane{admin, stranger} {
		eventually(t, "the link is refused", func() bool { return dp.log.has("no link to the control plane") })
		if _, holds := dp.applier.Held(); holds || dp.link.Connected() {
			t.Error("somebody was linked who should not be")
		}
	}
}

func TestARevokedCertificateEndsTheLink(t *testing.T) {
	t.Parallel()
	cp := newControlPlane(t)
	dp := cp.linked("edge-1")
	held := dp.state()
	// Held back as well: a blocked send must not keep who was revoked.
	cp.wire.hold.Store(true)
	began := time.Now()
	mtlstest.Write(t, cp.files.CRL, cp.ca.CRL(t, 2, time.Now().Add(time.Hour), dp.pair))
	eventually(t, "the link ends", func() bool { return cp.fleet.Linked() == 0 })
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	cp.wire.hold.Store(false)
	cp.consumer("bob")
	cp.caughtUp()
	time.Sleep(500 * time.Millisecond) // some attempts to link again
	if dp.link.Connected() || dp.state().Set.Hash() != held.Set.Hash() {
		t.Error("who was revoked is linked again")
	}
}

func TestManyDataPlanesGetTheSameBytes(t *testing.T) {
	t.Parallel()
	cp := newControlPlane(t)
	cp.heartbeat = 2 * time.Second
	cp.restart()
	cp.consumer("bob")
	cp.caughtUp()
	var all []*dataPlane
	for i := range 50 {
		dp := cp.dataPlane(defaultLeaf(fmt.Sprint("edge-", i)))
		dp.start()
		all = append(all, dp)
	}
	for _, dp := range all {
		cp.holds(dp)
	}
	cp.wire.sent()
	cp.consumer("carol")
	for _, dp := range all {
		cp.holds(dp)
	}
	sent := cp.wire.sent()
	if got := kinds(sent); len(sent) != len(all) || bytes.Contains([]byte(got), []byte("S")) {
		t.Fatalf("one change for %d data planes was sent as %s", len(all), got)
	}
	for _, c := range sent {
		if c != sent[0] {
			t.Fatal("the change was encoded more than once")
		}
	}
	if n := cp.fleet.Linked(); n != len(all) {
		t.Errorf("%d linked", n)
	}
}

func TestACutOffSnapshotGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	cp := newControlPlane(t)
	for i := range 60 { // incompressible enough for several chunks
		cp.insert("services", fmt.Sprintf(`{"name":"s%d","host":"h","tags":[%s]}`, i, noise(i, 1000)))
	}
	cp.caughtUp()
	dp := cp.dataPlane(defaultLeaf("edge-1"))
	cp.wire.meddle(func(c *syncv1.Chunk) *syncv1.Chunk {
		if c.Number == 2 {
			cp.wire.hold.Store(true)
		}
		return c
	})
	dp.start()
	eventually(t, "the link breaks", func() bool { return dp.log.has("no link to the control plane") })
	first := cp.wire.sent()
	cp.wire.meddle(nil)
	cp.wire.hold.Store(false)
	cp.holds(dp)
	rest := cp.wire.sent()
	if len(first) < 2 || len(rest) == 0 || rest[0].Number == 0 {
		t.Errorf("%d chunks went first, then %d beginning with %d", len(first), len(rest), rest[0].Number)
	}
}

// noise is a list of tags that no compressor shortens much.
func noise(seed, n int) (text string) {
	for i := range n {
		if i > 0 {
			text += ","
		}
		text += fmt.Sprintf("%q", fmt.Sprintf("%x", uint64(seed*7919+i)*0x9e3779b97f4a7c15))
	}
	return text
}
