package stream_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
)

func TestWhoMayNotLink(t *testing.T) {
	t.Parallel()
	cp := newControlPlane(t)
	cp.service("bob")
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
	admin := cp.dataPlane(mtlstest.Leaf{Identity: identity.Identity{Role: identity.Admin, Organisation: "default", Name: "root"}})
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
	cp.service("bob")
	cp.caughtUp()
	time.Sleep(500 * time.Millisecond) // some attempts to link again
	if dp.link.Connected() || dp.state().Set.Hash() != held.Set.Hash() {
		t.Error("who was revoked is linked again")
	}
}

func TestManyDataPlanesGetTheSameBytes(t *testing.T) {
	t.Parallel()
	cp := newControlPlane(t)
	cp.service("bob")
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
	cp.service("carol")
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
	cp := newControlPlane(t).beating(lively)
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
