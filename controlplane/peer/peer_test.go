package peer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
)

func TestSignsOfLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca, w := mtlstest.NewCA(t, "cluster"), newWire()
		one, log := newPeer(t, ca, w, "node-1")
		two, _ := newPeer(t, ca, w, "node-2")
		var caught atomic.Int32
		one.On("history", func() { caught.Add(1) })
		run(t, one)
		synctest.Wait()
		if n := caught.Load(); n != 1 {
			t.Errorf("%d looks at the history after the connection came, want 1", n)
		}
		stop := run(t, two)
		time.Sleep(3 * time.Second)
		heard := one.Status().Peers
		want := []Heard{{Node: "node-2", Name: "node-2", Last: time.Now().Add(-time.Second)}}
		if diff := cmp.Diff(want, heard); diff != "" {
			t.Errorf("heard (-want +got):\n%s", diff)
		}
		if n := caught.Load(); n != 2 {
			t.Errorf("%d looks at the history after a node came, want 2", n)
		}
		stop()
		time.Sleep(time.Minute)
		if text := log.String(); strings.Count(text, "no longer heard") != 1 || strings.Count(text, "control plane node heard") != 1 {
			t.Errorf("log = %s", text)
		}
		if n := len(one.Status().Peers); n != 1 {
			t.Errorf("a node that fell silent is forgotten after a minute")
		}
		time.Sleep(2 * time.Minute)
		if n := len(one.Status().Peers); n != 0 {
			t.Errorf("%d silent nodes are still known", n)
		}
		again, _ := peerOf(two.source, w, "node-2")
		run(t, again)
		synctest.Wait()
		if n := caught.Load(); n != 3 || len(one.Status().Peers) != 1 {
			t.Errorf("%d looks at the history after a node came back, want 3; peers %v", n, one.Status().Peers)
		}
		if len(one.Status().Refused) != 0 {
			t.Errorf("refused %v", one.Status().Refused)
		}
	})
}

func TestRestartedNodeIsHeardAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca, w := mtlstest.NewCA(t, "cluster"), newWire()
		one, _ := newPeer(t, ca, w, "node-1")
		two, _ := newPeer(t, ca, w, "node-2")
		var kept [][]byte
		w.tap(func(_ string, data []byte) { kept = append(kept, data) })
		run(t, one)
		stop := run(t, two)
		time.Sleep(9 * time.Second)
		stop()
		again, _ := peerOf(two.source, w, "node-2")
		run(t, again)
		synctest.Wait()
		if last := one.Status().Peers[0].Last; !last.Equal(time.Now()) {
			t.Errorf("heard %v, now %v", last, time.Now())
		}
		for _, data := range kept {
			_ = w.Publish(one.subject(topicHello), data)
		}
		synctest.Wait()
		if n := one.Status().Refused[OldIncarnation]; n != 5 {
			t.Errorf("%d messages of the ended process refused, want its 5: %v", n, one.Status().Refused)
		}
	})
}

func TestHintsBecomeFew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca, w := mtlstest.NewCA(t, "cluster"), newWire()
		one, _ := newPeer(t, ca, w, "node-1")
		two, _ := newPeer(t, ca, w, "node-2")
		var history, ring atomic.Int32
		two.On("history", func() { history.Add(1) })
		two.On("ring", func() { ring.Add(1) })
		run(t, two)
		synctest.Wait()
		run(t, one)
		time.Sleep(time.Second)
		history.Store(0)
		ring.Store(0)
		for range 1000 {
			one.Hint("history")
			time.Sleep(time.Millisecond)
		}
		one.Hint("ring")
		time.Sleep(50 * time.Millisecond)
		if n := history.Load(); n < 40 || n > 52 {
			t.Errorf("1000 hints in a second became %d, want about 50", n)
		}
		if n := ring.Load(); n != 1 {
			t.Errorf("one hint became %d", n)
		}
	})
}

func TestSaidInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca, w := mtlstest.NewCA(t, "cluster"), newWire()
		one, _ := newPeer(t, ca, w, "node-1")
		two, _ := newPeer(t, ca, w, "node-2")
		var mu sync.Mutex
		var got []string
		two.Hear("audit-heads", func(from identity.Identity, node string, body []byte) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, from.Name+" "+node+" "+string(body))
		})
		one.Hear("audit-heads", func(identity.Identity, string, []byte) { t.Error("a node hears itself") })
		run(t, two)
		run(t, one)
		synctest.Wait()
		var want []string
		for i := range 100 {
			one.Say("audit-heads", fmt.Appendf(nil, "%d", i))
			want = append(want, fmt.Sprintf("node-1 node-1 %d", i))
		}
		synctest.Wait()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("heard (-want +got):\n%s", diff)
		}
		w.setCut(true)
		one.Say("audit-heads", []byte("lost"))
		synctest.Wait()
		w.setCut(false)
		one.Say("audit-heads", []byte("found"))
		one.Say("audit-heads", make([]byte, maxMessage)) // cannot be said
		synctest.Wait()
		if last := got[len(got)-1]; len(got) != 101 || last != "node-1 node-1 found" {
			t.Errorf("%d words, the last %q", len(got), last)
		}
	})
}

func TestNothingBlocksWithoutRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, _ := newPeer(t, mtlstest.NewCA(t, "cluster"), newWire(), "node-1")
		begun := time.Now()
		for range 2 * maxOutgoing {
			p.Say("audit-heads", nil)
			p.Hint("history")
		}
		if time.Since(begun) != 0 {
			t.Error("Say or Hint waits")
		}
	})
}

func TestPartition(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca, w := mtlstest.NewCA(t, "cluster"), newWire()
		one, _ := newPeer(t, ca, w, "node-1")
		var caught atomic.Int32
		one.On("history", func() { caught.Add(1) })
		run(t, one)
		synctest.Wait()
		w.setCut(true)
		time.Sleep(time.Minute)
		if one.Status().Connected {
			t.Error("connected over a wire that is cut")
		}
		w.setCut(false)
		time.Sleep(3 * time.Second)
		if n := caught.Load(); n != 2 {
			t.Errorf("%d looks at the history, want one for each time that the connection came", n)
		}
	})
}

func TestRunRefusesBadNames(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	for _, name := range []string{"", "a.b", "a*", "a b", ">", strings.Repeat("a", 65)} {
		source, _, _ := ca.Source(t, controlPlane("node-1"))
		p, _ := peerOf(source, newWire(), name)
		if err := p.Run(context.Background()); fault.KindOf(err) != fault.Invalid {
			t.Errorf("node id %q: Run = %v", name, err)
		}
	}
}

func TestExchange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca, w := mtlstest.NewCA(t, "cluster"), newWire()
		one, _ := newPeer(t, ca, w, "node-1")
		two, _ := newPeer(t, ca, w, "node-2")
		three, _ := newPeer(t, ca, w, "node-3")
		full, half, empty := newRing(), newRing(), newRing()
		one.Exchange(full)
		two.Exchange(half)
		three.Exchange(empty)
		for i := range 3*maxIDs + 1 { // more than one request may name
			id, material := fmt.Sprintf("key%05d", i), newMaterial()
			hash := hashOf(material)
			full.list(id, hash, material)
			empty.list(id, hash, nil)
			if i%2 == 0 {
				half.list(id, hash, material)
			} else {
				half.list(id, hash, nil)
			}
		}
		for _, p := range []*Peer{one, two, three} {
			run(t, p)
		}
		time.Sleep(5 * time.Second)
		if n := len(half.Wanted()) + len(empty.Wanted()); n != 0 {
			t.Errorf("%d keys are still wanted", n)
		}
		for _, r := range []*testRing{half, empty} {
			for id := range full.proven {
				if !slices.Equal(r.holds(id), full.holds(id)) {
					t.Fatalf("key %s differs", id)
				}
			}
			if r.refused != 0 {
				t.Errorf("%d materials refused", r.refused)
			}
		}
		for _, p := range []*Peer{one, two, three} {
			if n := len(p.Status().Refused); n != 0 {
				t.Errorf("refused: %v", p.Status().Refused)
			}
		}
		// A key made later is asked for at once.
		material := newMaterial()
		full.list("another1", hashOf(material), material)
		empty.list("another1", hashOf(material), nil)
		time.Sleep(300 * time.Millisecond)
		if empty.holds("another1") == nil {
			t.Error("a new key has not come after 300 ms")
		}
	})
}

func TestAskingIsPatient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca, w := mtlstest.NewCA(t, "cluster"), newWire()
		one, log := newPeer(t, ca, w, "node-1")
		ring := newRing()
		one.Exchange(ring)
		var asked atomic.Int32
		w.tap(func(subject string, _ []byte) {
			if subject == one.subject(topicRequest) {
				asked.Add(1)
			}
		})
		run(t, one)
		material := newMaterial()
		ring.list("wanted01", hashOf(material), nil)
		time.Sleep(10 * time.Minute)
		if n := asked.Load(); n < 600/18 || n > 600/12+10 {
			t.Errorf("asked %d times in ten minutes, want about one in 15 s", n)
		}
		if strings.Count(log.String(), "goes on asking") != 1 {
			t.Errorf("log = %s", log)
		}
		// A node that comes is asked at once.
		two, _ := newPeer(t, ca, w, "node-2")
		full := newRing()
		full.list("wanted01", hashOf(material), material)
		two.Exchange(full)
		run(t, two)
		time.Sleep(300 * time.Millisecond)
		if ring.holds("wanted01") == nil {
			t.Error("the key has not come within 300 ms after its holder")
		}
	})
}

func TestHolderAnswersOnceForMany(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca, w := mtlstest.NewCA(t, "cluster"), newWire()
		holder, _ := newPeer(t, ca, w, "node-1")
		greedy, _ := newPeer(t, ca, w, "node-2")
		full, ring := newRing(), newRing()
		material := newMaterial()
		full.list("wanted01", hashOf(material), material)
		holder.Exchange(full)
		greedy.Exchange(ring)
		var answers atomic.Int32
		w.tap(func(subject string, _ []byte) {
			if strings.Contains(subject, topicReply) {
				answers.Add(1)
			}
		})
		run(t, holder)
		run(t, greedy)
		synctest.Wait()
		key, err := kem().GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			greedy.exchange.request(key, []string{"wanted01"})
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Second)
		if n := answers.Load(); n < 2 || n > 2*lendPerNode+1 {
			t.Errorf("%d answers to 100 requests in a second", n)
		}
		if holder.Status().Refused[TooMany] == 0 {
			t.Error("no request was counted as one too many")
		}
	})
}
