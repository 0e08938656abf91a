package publish

import (
	"fmt"
	"iter"
	"slices"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/configset"
)

// chunkBytes is how much of an update goes into one chunk before compression.
const chunkBytes = 256 << 10

// snapshotTo returns the chunks of a snapshot of v, encoded at the first call.
func (v *version) snapshotTo() ([]*syncv1.StreamResponse, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.snapshot == nil {
		head := &syncv1.Chunk{Kind: syncv1.UpdateKind_UPDATE_KIND_SNAPSHOT, Target: v.position(), ExplicitEmpty: v.set.Len() == 0}
		chunks, err := encode(head, v.set.All(), nil)
		if err != nil {
			return nil, err
		}
		v.snapshot = chunks
	}
	return v.snapshot, nil
}

// deltaFrom returns the chunks that lead from base to v, encoded at the first call for each base.
func (v *version) deltaFrom(base *version) ([]*syncv1.StreamResponse, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	hash := base.set.Hash()
	if chunks, done := v.deltas[hash]; done {
		return chunks, nil
	}
	delta := configset.Diff(base.set, v.set)
	head := &syncv1.Chunk{
		Kind: syncv1.UpdateKind_UPDATE_KIND_DELTA, Base: base.position(), Target: v.position(), ExplicitEmpty: v.set.Len() == 0,
	}
	chunks, err := encode(head, slices.Values(delta.Puts), delta.Deletes)
	if err != nil {
		return nil, err
	}
	if v.deltas == nil {
		v.deltas = map[configset.Hash][]*syncv1.StreamResponse{}
	}
	v.deltas[hash] = chunks
	return chunks, nil
}

// encode packs puts and deletes into chunks like head. There is always at least one.
func encode(head *syncv1.Chunk, puts iter.Seq[configset.Entry], deletes []configset.Ref) ([]*syncv1.StreamResponse, error) {
	packer, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("making a compressor: %w", err)
	}
	defer packer.Close()
	var chunks []*syncv1.StreamResponse
	var entries syncv1.Entries
	size := 0
	flush := func(last bool) error {
		plain, err := proto.Marshal(&entries)
		if err != nil {
			return fmt.Errorf("encoding chunk %d: %w", len(chunks), err)
		}
		chunks = append(chunks, &syncv1.StreamResponse{Message: &syncv1.StreamResponse_Chunk{Chunk: &syncv1.Chunk{
			Kind: head.Kind, Base: head.Base, Target: head.Target, ExplicitEmpty: head.ExplicitEmpty,
			Number: uint32(len(chunks)), Last: last, Payload: packer.EncodeAll(plain, nil),
		}}})
		proto.Reset(&entries)
		size = 0
		return nil
	}
	for _, r := range deletes {
		entries.Deletes = append(entries.Deletes, &syncv1.EntryRef{Kind: r.Kind, Id: r.ID})
	}
	for e := range puts {
		entries.Puts = append(entries.Puts, &syncv1.Entry{Kind: e.Kind, Id: e.ID, Body: e.Body})
		if size += len(e.Body) + len(e.ID) + len(e.Kind); size >= chunkBytes {
			if err := flush(false); err != nil {
				return nil, err
			}
		}
	}
	err = flush(true)
	return chunks, err
}
