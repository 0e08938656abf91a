package uplink

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/apply"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/configset"
)

// nowhere compiles and keeps nothing.
type nowhere struct{}

func (nowhere) Compile(configset.Set) (func(), []*syncv1.Quarantined) { return func() {}, nil }
func (nowhere) Replace(apply.State) error                             { return nil }
func (nowhere) Append(apply.State, configset.Delta) error             { return nil }

func newUplink() (*Uplink, *apply.Applier) {
	a := apply.New(nowhere{}, nowhere{})
	return New([]Endpoint{{Address: "nowhere:1"}}, a, Node{CertificateExpires: func() time.Time { return time.Time{} }}, Options{}), a
}

func numbered(n int) configset.Set {
	return configset.Of(func(yield func(configset.Entry) bool) {
		for i := range n {
			body := fmt.Appendf(nil, "body of entity %d, which is about as long as that of a service: backend-%d.example 8080 http 60000", i, i)
			if !yield(configset.Entry{Kind: "services", ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i), Body: body}) {
				return
			}
		}
	})
}

// chunksOf encodes an update of at most per entries a chunk; base is nil for a snapshot.
func chunksOf(t testing.TB, base, target *apply.State, per int) (chunks []*syncv1.Chunk) {
	t.Helper()
	zip, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		t.Fatal(err)
	}
	defer zip.Close()
	head := &syncv1.Chunk{Kind: syncv1.UpdateKind_UPDATE_KIND_SNAPSHOT, Target: target.Position()}
	var from configset.Set
	if base != nil {
		head.Kind, head.Base, from = syncv1.UpdateKind_UPDATE_KIND_DELTA, base.Position(), base.Set
	}
	delta := configset.Diff(from, target.Set)
	for {
		var entries syncv1.Entries
		n := min(per, len(delta.Puts))
		for _, e := range delta.Puts[:n] {
			entries.Puts = append(entries.Puts, &syncv1.Entry{Kind: e.Kind, Id: e.ID, Body: e.Body, Kept: e.Kept})
		}
		delta.Puts = delta.Puts[n:]
		plain, err := proto.Marshal(&entries)
		if err != nil {
			t.Fatal(err)
		}
		c := proto.CloneOf(head)
		c.Number, c.Last, c.Payload = uint32(len(chunks)), len(delta.Puts) == 0, zip.EncodeAll(plain, nil)
		if chunks = append(chunks, c); c.Last {
			return chunks
		}
	}
}

// feed takes chunks as the stream would bring them, and returns every answer.
func feed(u *Uplink, chunks ...*syncv1.Chunk) (answers []*syncv1.StreamRequest) {
	for _, c := range chunks {
		in, answer := u.take(c)
		if in != nil {
			answer = u.judge(in)
		}
		if answer != nil {
			answers = append(answers, answer)
		}
	}
	return answers
}

func TestOneVerdictAnUpdate(t *testing.T) {
	t.Parallel()
	target := &apply.State{Epoch: 1, Version: 5, Set: numbered(100)}
	whole := func(t *testing.T) []*syncv1.Chunk { return chunksOf(t, nil, target, 10) }
	tests := map[string]struct {
		chunks func(c []*syncv1.Chunk) []*syncv1.Chunk
		want   syncv1.NackReason // unspecified: acknowledged
	}{
		"as it is":               {func(c []*syncv1.Chunk) []*syncv1.Chunk { return c }, 0},
		"begun anew half-way":    {func(c []*syncv1.Chunk) []*syncv1.Chunk { return append(c[:5:5], c...) }, 0},
		"a chunk is missing":     {func(c []*syncv1.Chunk) []*syncv1.Chunk { return append(c[:3:3], c[4:]...) }, syncv1.NackReason_NACK_REASON_MALFORMED},
		"the beginning is":       {func(c []*syncv1.Chunk) []*syncv1.Chunk { return c[1:] }, syncv1.NackReason_NACK_REASON_MALFORMED},
		"a chunk comes twice":    {func(c []*syncv1.Chunk) []*syncv1.Chunk { return append(c[:4:4], c[3:]...) }, syncv1.NackReason_NACK_REASON_MALFORMED},
		"a chunk is harmed":      {func(c []*syncv1.Chunk) []*syncv1.Chunk { c[3].Payload[9] ^= 1; return c }, syncv1.NackReason_NACK_REASON_MALFORMED},
		"a chunk is empty":       {func(c []*syncv1.Chunk) []*syncv1.Chunk { c[3].Payload = nil; return c }, syncv1.NackReason_NACK_REASON_MISMATCH},
		"of a kind not known":    {func(c []*syncv1.Chunk) []*syncv1.Chunk { c[0].Kind = 9; return c[:1] }, syncv1.NackReason_NACK_REASON_MALFORMED},
		"without a target":       {func(c []*syncv1.Chunk) []*syncv1.Chunk { c[0].Target, c[0].Last = nil, true; return c[:1] }, syncv1.NackReason_NACK_REASON_MALFORMED},
		"it ends too early":      {func(c []*syncv1.Chunk) []*syncv1.Chunk { c[4].Last = true; return c[:5] }, syncv1.NackReason_NACK_REASON_MISMATCH},
		"a bomb":                 {func(c []*syncv1.Chunk) []*syncv1.Chunk { c[2].Payload = bomb(); return c }, syncv1.NackReason_NACK_REASON_MALFORMED},
		"a chunk of another one": {func(c []*syncv1.Chunk) []*syncv1.Chunk { c[2].Target.Version++; return c[:3] }, syncv1.NackReason_NACK_REASON_MALFORMED},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, a := newUplink()
			answers := feed(u, test.chunks(whole(t))...)
			if len(answers) != 1 {
				t.Fatalf("%d answers: %v", len(answers), answers)
			}
			if got := answers[0].GetNack().GetReason(); got != test.want {
				t.Errorf("verdict %v, want %v", answers[0], test.want)
			}
			if _, holds := a.Held(); holds != (test.want == 0) {
				t.Errorf("holds something: %v", holds)
			}
			if again := feed(u, whole(t)...); len(again) != 1 || again[0].GetAck() == nil {
				t.Errorf("a sound update after it: %v", again)
			}
		})
	}
}

// bomb is a small frame that unpacks to more than a chunk may.
func bomb() []byte {
	zip, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	defer zip.Close()
	return zip.EncodeAll(make([]byte, maxChunkBytes+1), nil)
}

func TestASnapshotThatWasCutOffIsAskedForFromThere(t *testing.T) {
	t.Parallel()
	u, _ := newUplink()
	target := &apply.State{Epoch: 1, Version: 5, Set: numbered(100)}
	chunks := chunksOf(t, nil, target, 10)
	feed(u, chunks[:4]...)
	partial := u.hello().GetHello().GetPartial()
	if partial.GetChunks() != 4 || !samePosition(partial.Target, target.Position()) {
		t.Fatalf("the hello asks for %v", partial)
	}
	if answers := feed(u, chunks[4:]...); len(answers) != 1 || answers[0].GetAck() == nil {
		t.Errorf("the rest: %v", answers)
	}
	if u.hello().GetHello().GetPartial() != nil {
		t.Error("the hello asks for the rest of what is held")
	}
}

func FuzzTake(f *testing.F) {
	target := &apply.State{Epoch: 1, Version: 5, Set: numbered(20).Put(configset.Entry{Kind: "plugins", ID: "p", Body: []byte("shell"), Kept: true})}
	for _, c := range chunksOf(f, nil, target, 7) {
		encoded, err := proto.Marshal(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(encoded, true)
	}
	f.Add(bytes.Repeat([]byte{0xff}, 30), false)
	f.Fuzz(func(t *testing.T, encoded []byte, marshalled bool) {
		u, a := newUplink()
		chunk := &syncv1.Chunk{Kind: syncv1.UpdateKind_UPDATE_KIND_SNAPSHOT, Target: target.Position(), Last: true, Payload: encoded}
		if marshalled && proto.Unmarshal(encoded, chunk) != nil {
			return
		}
		feed(u, chunk)
		if state, holds := a.Held(); holds && string(state.Position().Hash) != string(chunk.Target.Hash) {
			t.Fatal("what is held is not what was named")
		}
	})
}

func BenchmarkTakeOneChangeIn(b *testing.B) {
	for _, size := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			u, a := newUplink()
			even := apply.State{Epoch: 1, Version: 1, Set: numbered(size)}
			odd := apply.State{Epoch: 1, Version: 1, Set: even.Set.Put(configset.Entry{Kind: "services", ID: "00000000-0000-4000-8000-000000000007", Body: []byte("another body of about that length, backend-7.example 8080 http")})}
			there, back := chunksOf(b, &even, &odd, 10), chunksOf(b, &odd, &even, 10)
			a.Start(even)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				update := there
				if i%2 == 1 {
					update = back
				}
				if answers := feed(u, update...); answers[0].GetAck() == nil {
					b.Fatal(answers)
				}
			}
			b.ReportMetric(float64(proto.Size(there[0])), "message-B")
		})
	}
}

func BenchmarkTakeSnapshot100k(b *testing.B) {
	target := &apply.State{Epoch: 1, Version: 1, Set: numbered(100_000)}
	chunks := chunksOf(b, nil, target, 1500)
	b.ReportAllocs()
	for b.Loop() {
		u, _ := newUplink()
		if answers := feed(u, chunks...); answers[0].GetAck() == nil {
			b.Fatal(answers)
		}
	}
}
