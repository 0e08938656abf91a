package uplink

import (
	"bytes"
	"fmt"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/apply"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/configset"
)

// maxChunkBytes bounds what one chunk may unpack to.
const maxChunkBytes = 64 << 20

// incoming is an update of which chunks are still to come.
type incoming struct {
	kind          syncv1.UpdateKind
	base, target  *syncv1.Position
	next          uint32 // number of the chunk that must come next
	explicitEmpty bool
	delta         configset.Delta
}

// take adds a chunk to the update that it belongs to and, with the last one, has the update applied. The
// answer is nil while chunks are missing.
func (u *Uplink) take(chunk *syncv1.Chunk) *syncv1.StreamRequest {
	in := u.partial
	if in == nil || chunk.Number == 0 || !samePosition(in.target, chunk.Target) || in.kind != chunk.Kind {
		in = &incoming{kind: chunk.Kind, base: chunk.Base, target: chunk.Target}
	}
	u.partial = nil
	if err := in.add(chunk); err != nil {
		return u.nack(chunk.Target, syncv1.NackReason_NACK_REASON_MALFORMED, err.Error())
	}
	if !chunk.Last {
		u.partial = in
		return nil
	}
	if refusal := u.applier.Apply(in.update()); refusal != nil {
		return u.nack(in.target, refusal.Reason, refusal.Detail)
	}
	quarantined := u.applier.Quarantined()
	u.options.Log.Info("configuration applied", "version", in.target.GetVersion(), "epoch", in.target.GetEpoch(),
		"changed", len(in.delta.Puts), "deleted", len(in.delta.Deletes), "quarantined", len(quarantined))
	return &syncv1.StreamRequest{Message: &syncv1.StreamRequest_Ack{Ack: &syncv1.Ack{Position: in.target, Quarantined: quarantined}}}
}

func (u *Uplink) nack(target *syncv1.Position, reason syncv1.NackReason, detail string) *syncv1.StreamRequest {
	u.options.Log.Error("update refused; this node goes on with what it has",
		"version", target.GetVersion(), "reason", reason, "detail", detail)
	return &syncv1.StreamRequest{Message: &syncv1.StreamRequest_Nack{Nack: &syncv1.Nack{Position: target, Reason: reason, Detail: detail}}}
}

func (in *incoming) add(chunk *syncv1.Chunk) error {
	if chunk.Kind != syncv1.UpdateKind_UPDATE_KIND_SNAPSHOT && chunk.Kind != syncv1.UpdateKind_UPDATE_KIND_DELTA {
		return fmt.Errorf("unknown kind of update %d", chunk.Kind)
	}
	if chunk.Number != in.next {
		return fmt.Errorf("chunk %d came where chunk %d was due", chunk.Number, in.next)
	}
	payload, err := unpack(chunk.Payload)
	if err != nil {
		return fmt.Errorf("unpacking chunk %d: %w", chunk.Number, err)
	}
	var entries syncv1.Entries
	if err := proto.Unmarshal(payload, &entries); err != nil {
		return fmt.Errorf("decoding chunk %d: %w", chunk.Number, err)
	}
	for _, e := range entries.Puts {
		in.delta.Puts = append(in.delta.Puts, configset.Entry{Kind: e.Kind, ID: e.Id, Body: e.Body})
	}
	for _, r := range entries.Deletes {
		in.delta.Deletes = append(in.delta.Deletes, configset.Ref{Kind: r.Kind, ID: r.Id})
	}
	in.next++
	in.explicitEmpty = chunk.ExplicitEmpty
	return nil
}

func (in *incoming) update() apply.Update {
	return apply.Update{
		Snapshot: in.kind == syncv1.UpdateKind_UPDATE_KIND_SNAPSHOT,
		Base:     in.base, Target: in.target, Delta: in.delta, ExplicitEmpty: in.explicitEmpty,
	}
}

// unpack opens one zstd frame of bounded size.
func unpack(payload []byte) ([]byte, error) {
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxChunkBytes))
	if err != nil {
		return nil, err
	}
	defer decoder.Close()
	return decoder.DecodeAll(payload, nil)
}

func samePosition(a, b *syncv1.Position) bool {
	return a.GetEpoch() == b.GetEpoch() && a.GetVersion() == b.GetVersion() && bytes.Equal(a.GetHash(), b.GetHash())
}
