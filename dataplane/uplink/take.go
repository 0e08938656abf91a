package uplink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/apply"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/configset"
	"github.com/keepgate/keepgate/shared/telemetry"
)

const (
	// maxChunkBytes bounds what one chunk may unpack to.
	maxChunkBytes = 64 << 20
	// maxUpdateBytes bounds what a whole update may unpack to.
	maxUpdateBytes = 4 << 30
	// maxQuarantined bounds how many entities are named in one message.
	maxQuarantined = 1000
	// keptBuffer is the largest buffer that is kept from one chunk to the next.
	keptBuffer = 1 << 20
)

// incoming is an update of which chunks are still to come.
type incoming struct {
	kind          syncv1.UpdateKind
	base, target  *syncv1.Position
	next          uint32 // number of the chunk that must come next
	explicitEmpty bool
	size          int // unpacked so far
	delta         configset.Delta
	names         map[string]string // one copy of each kind
}

// take adds a chunk to the update that it belongs to. It returns the update once that is whole, and an answer
// when one is due at once.
func (u *Uplink) take(chunk *syncv1.Chunk) (whole *incoming, answer *syncv1.StreamRequest) {
	if chunk.Number != 0 && u.spurned != nil && samePosition(u.spurned, chunk.Target) {
		return nil, nil // the rest of what was refused
	}
	in := u.partial
	if in == nil || chunk.Number == 0 || !samePosition(in.target, chunk.Target) || in.kind != chunk.Kind {
		in = &incoming{kind: chunk.Kind, base: chunk.Base, target: chunk.Target, names: map[string]string{}}
	}
	u.partial, u.spurned = nil, nil
	if err := u.add(in, chunk); err != nil {
		u.spurned = chunk.Target
		return nil, u.nack(chunk.Target, syncv1.NackReason_NACK_REASON_MALFORMED, err.Error())
	}
	if !chunk.Last {
		u.partial = in
		return nil, nil
	}
	return in, nil
}

// judge has an update applied, and returns the verdict.
func (u *Uplink) judge(in *incoming) *syncv1.StreamRequest {
	level := slog.LevelInfo
	if _, holds := u.applier.Held(); !holds {
		level = telemetry.LevelNotice // the first one: from here on this node serves
	}
	if refusal := u.applier.Apply(in.update()); refusal != nil {
		return u.nack(in.target, refusal.Reason, refusal.Detail)
	}
	quarantined, kept := u.condition()
	u.options.Log.Log(context.Background(), level, "configuration applied", "version", in.target.GetVersion(), "epoch", in.target.GetEpoch(),
		"changed", len(in.delta.Puts), "deleted", len(in.delta.Deletes), "quarantined", len(quarantined), "kept", kept.GetEntries(), "lacking", kept.GetLacking())
	return &syncv1.StreamRequest{Message: &syncv1.StreamRequest_Ack{Ack: &syncv1.Ack{
		Position: in.target, Quarantined: quarantined, Kept: kept,
	}}}
}

// condition is what of the serving state is not as it should be. It is bounded: while keys are missing, a new data
// plane may lack every credential there is.
func (u *Uplink) condition() ([]*syncv1.Quarantined, *syncv1.Kept) {
	quarantined := u.applier.Quarantined()
	state, _ := u.applier.Held()
	kept, lacking := state.Set.Kept()
	if kept == 0 {
		return quarantined[:min(len(quarantined), maxQuarantined)], nil
	}
	return quarantined[:min(len(quarantined), maxQuarantined)], &syncv1.Kept{Entries: uint32(kept), Lacking: uint32(lacking)}
}

func (u *Uplink) nack(target *syncv1.Position, reason syncv1.NackReason, detail string) *syncv1.StreamRequest {
	u.options.Log.Error("update refused; this node goes on with what it has",
		"version", target.GetVersion(), "reason", reason, "detail", detail)
	return &syncv1.StreamRequest{Message: &syncv1.StreamRequest_Nack{Nack: &syncv1.Nack{Position: target, Reason: reason, Detail: detail}}}
}

func (u *Uplink) add(in *incoming, chunk *syncv1.Chunk) error {
	if chunk.Kind != syncv1.UpdateKind_UPDATE_KIND_SNAPSHOT && chunk.Kind != syncv1.UpdateKind_UPDATE_KIND_DELTA {
		return fmt.Errorf("unknown kind of update %d", chunk.Kind)
	}
	if chunk.Number != in.next {
		return fmt.Errorf("chunk %d came where chunk %d was due", chunk.Number, in.next)
	}
	payload, err := u.unpack(chunk.Payload)
	if err != nil {
		return fmt.Errorf("unpacking chunk %d: %w", chunk.Number, err)
	}
	if in.size += len(payload); in.size > maxUpdateBytes {
		return errors.New("the update is larger than any configuration may be")
	}
	var entries syncv1.Entries
	if err := proto.Unmarshal(payload, &entries); err != nil { // copies what it keeps
		return fmt.Errorf("decoding chunk %d: %w", chunk.Number, err)
	}
	for _, e := range entries.Puts {
		in.delta.Puts = append(in.delta.Puts, configset.Entry{Kind: in.name(e.GetKind()), ID: e.GetId(), Body: e.GetBody(), Kept: e.GetKept()})
	}
	for _, r := range entries.Deletes {
		in.delta.Deletes = append(in.delta.Deletes, configset.Ref{Kind: in.name(r.GetKind()), ID: r.GetId()})
	}
	in.next++
	in.explicitEmpty = chunk.ExplicitEmpty
	return nil
}

func (in *incoming) name(kind string) string {
	if known, ok := in.names[kind]; ok {
		return known
	}
	in.names[kind] = kind
	return kind
}

func (in *incoming) update() apply.Update {
	return apply.Update{
		Snapshot: in.kind == syncv1.UpdateKind_UPDATE_KIND_SNAPSHOT,
		Base:     in.base, Target: in.target, Delta: in.delta, ExplicitEmpty: in.explicitEmpty,
	}
}

// unpack opens one zstd frame of bounded size. What it returns is valid until the next call.
func (u *Uplink) unpack(payload []byte) ([]byte, error) {
	if u.decoder == nil {
		decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxChunkBytes))
		if err != nil {
			return nil, err
		}
		u.decoder = decoder
	}
	plain, err := u.decoder.DecodeAll(payload, u.plain[:0])
	if cap(plain) <= keptBuffer {
		u.plain = plain
	}
	return plain, err
}

func samePosition(a, b *syncv1.Position) bool {
	return a.GetEpoch() == b.GetEpoch() && a.GetVersion() == b.GetVersion() && bytes.Equal(a.GetHash(), b.GetHash())
}
