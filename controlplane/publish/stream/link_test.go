package stream

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keepgate/keepgate/controlplane/fleet"
	"github.com/keepgate/keepgate/controlplane/publish/versions"
	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/configset"
)

func TestHello(t *testing.T) {
	t.Parallel()
	id := uuid.NewString()
	hello := func(h *syncv1.Hello) *syncv1.StreamRequest {
		return &syncv1.StreamRequest{Message: &syncv1.StreamRequest_Hello{Hello: h}}
	}
	tests := map[string]struct {
		first *syncv1.StreamRequest // nil: none comes
		want  codes.Code
	}{
		"nothing":        {nil, codes.DeadlineExceeded},
		"something else": {&syncv1.StreamRequest{Message: &syncv1.StreamRequest_Report{Report: &syncv1.Report{}}}, codes.InvalidArgument},
		"no id":          {hello(&syncv1.Hello{NodeId: "edge-1"}), codes.InvalidArgument},
		"a hash of any length": {
			hello(&syncv1.Hello{NodeId: id, Held: &syncv1.Position{Epoch: 1, Version: 1, Hash: make([]byte, 1<<20)}}), codes.InvalidArgument,
		},
		"another spelling of its id": {hello(&syncv1.Hello{NodeId: "{" + strings.ToUpper(id) + "}", Held: &syncv1.Position{Hash: make([]byte, 32)}}), codes.OK},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := conversation{received: make(chan *syncv1.StreamRequest, 1)}
				if test.first != nil {
					c.received <- test.first
				}
				got, err := helloFrom(t.Context(), c)
				if status.Code(err) != test.want || err == nil && got.NodeId != id {
					t.Errorf("%v, %v, want %v", got.GetNodeId(), err, test.want)
				}
			})
		})
	}
}

// A verdict counts for the update that is in flight, and for no other.
func TestVerdictsOfOtherUpdates(t *testing.T) {
	on(t, &syncv1.Hello{}, Options{}, func(b *bench) {
		first := b.show(1, 10).Position()
		b.update()
		second := b.show(2, 10).Position()
		b.ack(second) // which was not sent
		b.quiet(time.Minute)
		if held := b.link.session.Status().Held; held.Hash != "" {
			t.Errorf("it holds %v, which it was not sent", held)
		}
		b.ack(first)
		if held := b.link.session.Status().Held; held != heldOf(first) {
			t.Errorf("it holds %v, want %v", held, heldOf(first))
		}
		if chunk := b.update(); chunk.Kind != syncv1.UpdateKind_UPDATE_KIND_DELTA || chunk.Base.Version != 1 || chunk.Target.Version != 2 {
			t.Errorf("%v from %v to %v follows", chunk.Kind, chunk.Base, chunk.Target)
		}
		b.nack(first, syncv1.NackReason_NACK_REASON_MISMATCH) // which is settled
		b.quiet(time.Minute)
		b.ack(second)
		b.quiet(time.Minute)
		if s := b.link.session.Status(); s.Held != heldOf(second) || s.SyncStatus != fleet.Normal {
			t.Errorf("it holds %v and is %v", s.Held, s.SyncStatus)
		}
	})
}

// What does not fit is followed by a snapshot, once, and a full disk is asked again after a while: both until there is another version.
func TestRefusals(t *testing.T) {
	on(t, &syncv1.Hello{}, Options{StorageRetry: time.Minute}, func(b *bench) {
		first := b.show(1, 10).Position()
		b.update()
		b.ack(first)
		second := b.show(2, 10).Position()
		b.update()
		b.nack(second, syncv1.NackReason_NACK_REASON_MISMATCH)
		if chunk := b.update(); chunk.Kind != syncv1.UpdateKind_UPDATE_KIND_SNAPSHOT || chunk.Target.Version != 2 {
			t.Errorf("%v of %v follows what did not fit", chunk.Kind, chunk.Target)
		}
		b.nack(second, syncv1.NackReason_NACK_REASON_MISMATCH)
		b.quiet(time.Hour)
		third := b.show(3, 10).Position()
		b.update()
		b.nack(third, syncv1.NackReason_NACK_REASON_STORAGE)
		b.quiet(50 * time.Second)
		if chunk := b.update(); chunk.Target.Version != 3 || chunk.Kind != syncv1.UpdateKind_UPDATE_KIND_DELTA {
			t.Errorf("%v of %v follows a full disk", chunk.Kind, chunk.Target)
		}
		b.ack(third)
		b.quiet(time.Minute)
	})
}

// A database that was restored leads back: what it gives out then fits nothing that came before, whatever it is.
func TestAnotherLifeBeginsAnew(t *testing.T) {
	on(t, &syncv1.Hello{}, Options{}, func(b *bench) {
		first := b.show(5, 10).Position()
		b.update()
		b.ack(first)
		b.epoch = 2
		second := b.show(3, 10).Position()
		if chunk := b.update(); chunk.Kind != syncv1.UpdateKind_UPDATE_KIND_SNAPSHOT || chunk.Target.Epoch != 2 {
			t.Errorf("%v of %v", chunk.Kind, chunk.Target)
		}
		b.ack(second)
		b.quiet(time.Minute)
	})
}

// What is urgent goes between the chunks of an update, and heartbeats are for links that are silent else.
func TestOrdersOvertakeChunks(t *testing.T) {
	on(t, &syncv1.Hello{}, Options{}, func(b *bench) {
		b.show(1, 300<<10)
		b.show(2, 300<<10)
		if chunk := b.chunk(); chunk.Last || chunk.Number != 0 {
			t.Fatalf("chunk %d, last %v", chunk.Number, chunk.Last)
		}
		synctest.Wait()
		b.tell(7)
		synctest.Wait()
		time.Sleep(2 * Heartbeat)
		if order := b.next().GetCommand().GetTrust(); order.GetSequence() != 7 {
			t.Errorf("the order %v comes next", order)
		}
		if chunk := b.next().GetChunk(); chunk.GetNumber() != 1 {
			t.Errorf("chunk %d goes on", chunk.GetNumber())
		}
		b.mu.Lock()
		b.later = map[uint64][]*syncv1.Command{7: {{Command: &syncv1.Command_Wipe{Wipe: &enrolv1.SignedWipe{}}}}}
		b.mu.Unlock()
		b.say(&syncv1.StreamRequest{Message: &syncv1.StreamRequest_Report{Report: &syncv1.Report{TrustSequence: 7, Ready: true}}})
		if message := b.next(); message.GetCommand().GetWipe() == nil {
			t.Errorf("%v follows the trust that it holds now, which calls for another order", message)
		}
		b.tell(7) // again
		for range 2 {
			if message := b.next(); message.GetCommand() != nil {
				t.Errorf("%v is said twice", message)
			}
		}
		if s := b.link.session.Status(); s.TrustSequence != 7 || !s.Ready {
			t.Errorf("trust %d, ready %v", s.TrustSequence, s.Ready)
		}
	})
}

// The beginning of a snapshot that a data plane has is not sent again, unless it is another one's or claims more than there is.
func TestPartial(t *testing.T) {
	tests := map[string]struct {
		chunks  uint32
		version uint64
		want    uint32 // the first chunk that is sent
	}{
		"it goes on": {1, 1, 1}, "of another version": {1, 9, 0}, "all of it": {2, 1, 0}, "more than there is": {1 << 31, 1, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			partial := &syncv1.Partial{Chunks: test.chunks}
			on(t, &syncv1.Hello{Partial: partial}, Options{}, func(b *bench) {
				b.set = b.set.Put(configset.Entry{Kind: "services", ID: "large", Body: make([]byte, 300<<10)})
				set := b.set.Put(configset.Entry{Kind: "services", ID: "small", Body: []byte{1}})
				hash := set.Hash()
				partial.Target = &syncv1.Position{Epoch: 1, Version: test.version, Hash: hash[:]}
				b.link.environment.Set(&versions.Version{Epoch: 1, Number: 1, Set: set})
				if chunk := b.chunk(); chunk.Number != test.want {
					t.Errorf("chunk %d comes first, want %d", chunk.Number, test.want)
				}
			})
		})
	}
}

// One that holds something newer is sent nothing, and an operator is told once the database says that it never gave that out.
func TestAhead(t *testing.T) {
	held := &syncv1.Position{Epoch: 1, Version: 5, Hash: make([]byte, 32)}
	on(t, &syncv1.Hello{Held: held}, Options{Patience: time.Minute}, func(b *bench) {
		b.show(3, 10)
		b.quiet(50 * time.Second)
		if b.asked.Load() > 0 {
			t.Error("the database is asked at once")
		}
		b.quiet(time.Minute)
		if s := b.link.session.Status(); b.asked.Load() != 1 || s.SyncStatus == fleet.Ahead {
			t.Errorf("asked %d times within a minute, %v, of one that another node has read", b.asked.Load(), s.SyncStatus)
		}
		b.ahead.Store(true)
		b.quiet(2 * time.Minute)
		if s := b.link.session.Status(); s.SyncStatus != fleet.Ahead {
			t.Errorf("it is %v", s.SyncStatus)
		}
		b.show(6, 10)
		if chunk := b.update(); chunk.Target.Version != 6 || chunk.Kind != syncv1.UpdateKind_UPDATE_KIND_SNAPSHOT {
			t.Errorf("%v of %v follows", chunk.Kind, chunk.Target)
		}
	})
}

// What ends a link, with which word.
func TestEnds(t *testing.T) {
	wiping := wipe{errors.New("it was stolen"), &enrolv1.SignedWipe{Wipe: []byte("wipe")}}
	tests := map[string]struct {
		end  func(b *bench)
		want codes.Code
		wipe bool
	}{
		"silence":                     {func(*bench) {}, codes.DeadlineExceeded, false},
		"no such environment":         {func(b *bench) { b.environments.Settle(nil, nil) }, codes.PermissionDenied, false},
		"shut out":                    {func(b *bench) { b.ended <- errors.New("its name was taken back") }, codes.PermissionDenied, false},
		"shut out, and wiped":         {func(b *bench) { b.ended <- wiping }, codes.PermissionDenied, true},
		"shut out, and takes no word": {func(b *bench) { b.ended <- wiping }, codes.PermissionDenied, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			on(t, &syncv1.Hello{}, Options{}, func(b *bench) {
				test.end(b)
				if test.wipe {
					if got := b.next().GetCommand().GetWipe(); string(got.GetWipe()) != "wipe" {
						t.Errorf("the order is %v", got)
					}
					if b.next() != nil {
						t.Error("nobody waits until the order was sent")
					}
				}
				if err := <-b.done; status.Code(err) != test.want {
					t.Errorf("%v, want %v", err, test.want)
				}
			})
		})
	}
}

type wipe struct {
	error
	order *enrolv1.SignedWipe
}

func (w wipe) Wipe() *enrolv1.SignedWipe { return w.order }

// What a data plane says of itself is bounded.
func TestLabels(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", maxDetail)
	hello := &syncv1.Hello{NodeId: "n", Hostname: long, Version: "x" + long, Plugins: []*syncv1.PluginVersion{
		{Name: "cors", Version: "1.0"}, {Name: strings.Repeat("n", maxWord+1)}, {Name: "odd", Version: strings.Repeat("1", maxWord+1)},
	}}
	label := labelOf(context.Background(), hello)
	if label.Hostname != long[:maxDetail] || label.Version != "x"+long[:maxDetail-2] || len(label.Plugins) != 1 || label.Plugins["cors"] != "1.0" {
		t.Errorf("%d and %d bytes, plugins %v", len(label.Hostname), len(label.Version), label.Plugins)
	}
	for range maxPlugins {
		hello.Plugins = append(hello.Plugins, &syncv1.PluginVersion{Name: "p"})
	}
	if label := labelOf(context.Background(), hello); len(label.Plugins) > 0 {
		t.Errorf("%d plugins of too many", len(label.Plugins))
	}
	many := make([]*syncv1.Quarantined, maxQuarantined+1)
	for i := range many {
		many[i] = &syncv1.Quarantined{Reason: long}
	}
	if got := quarantinedOf(many); len(got) != maxQuarantined || len(got[0].Reason) != maxDetail {
		t.Errorf("%d entities, %d bytes", len(got), len(got[0].Reason))
	}
}
