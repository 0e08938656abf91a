package versions

import (
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/configset"
)

// chunkBytes is how much of an update goes into one chunk before compression.
const chunkBytes = 256 << 10

// update is the chunks that lead to a version, encoded when they are first asked for.
type update struct {
	chunks func() ([]*syncv1.StreamResponse, error)
}

// Snapshot returns the chunks of a snapshot of v, encoded at the first call.
func (v *Version) Snapshot() ([]*syncv1.StreamResponse, error) {
	v.mu.Lock()
	u := v.snapshot
	if u == nil {
		head := &syncv1.Chunk{Kind: syncv1.UpdateKind_UPDATE_KIND_SNAPSHOT, Target: v.Position(), ExplicitEmpty: v.Emptied}
		u = &update{sync.OnceValues(func() ([]*syncv1.StreamResponse, error) {
			return v.packer.encode(head, v.Set.All(), nil)
		})}
		if !v.past {
			v.snapshot = u
		}
	}
	v.mu.Unlock()
	return u.chunks() // not under the lock: who needs a delta does not wait for it
}

// DeltaFrom returns the chunks that lead from base to v, encoded at the first call for each base.
func (v *Version) DeltaFrom(base *Version) ([]*syncv1.StreamResponse, error) {
	hash := base.Set.Hash()
	v.mu.Lock()
	u := v.deltas[hash]
	if u == nil {
		head := &syncv1.Chunk{
			Kind: syncv1.UpdateKind_UPDATE_KIND_DELTA, Base: base.Position(), Target: v.Position(), ExplicitEmpty: v.Emptied,
		}
		u = &update{sync.OnceValues(func() ([]*syncv1.StreamResponse, error) {
			delta := configset.Diff(base.Set, v.Set)
			return v.packer.encode(head, slices.Values(delta.Puts), delta.Deletes)
		})}
		if v.deltas == nil {
			v.deltas = map[configset.Hash]*update{}
		}
		if !v.past {
			v.deltas[hash] = u
		}
	}
	v.mu.Unlock()
	return u.chunks()
}

// forget drops the encoded updates that lead to a version which nobody new is sent.
func (v *Version) forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.past, v.snapshot, v.deltas = true, nil, nil
}

// packer makes chunks. It is safe for concurrent use.
type packer struct {
	zstd func() (*zstd.Encoder, error)
}

func newPacker() *packer {
	return &packer{sync.OnceValues(func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2),
			zstd.WithWindowSize(chunkBytes))
	})}
}

// encode packs puts and deletes into chunks like head. There is always at least one.
func (p *packer) encode(head *syncv1.Chunk, puts iter.Seq[configset.Entry], deletes []configset.Ref) ([]*syncv1.StreamResponse, error) {
	zip, err := p.zstd()
	if err != nil {
		return nil, fmt.Errorf("making a compressor: %w", err)
	}
	r := &roll{head: head, zip: zip}
	for _, d := range deletes {
		r.entries.Deletes = append(r.entries.Deletes, &syncv1.EntryRef{Kind: d.Kind, Id: d.ID})
		if err := r.grow(len(d.Kind) + len(d.ID)); err != nil {
			return nil, err
		}
	}
	for e := range puts {
		r.entries.Puts = append(r.entries.Puts, &syncv1.Entry{Kind: e.Kind, Id: e.ID, Body: e.Body, Kept: e.Kept})
		if err := r.grow(len(e.Kind) + len(e.ID) + len(e.Body)); err != nil {
			return nil, err
		}
	}
	err = r.cut(true)
	return r.chunks, err
}

// roll is an update on its way into chunks.
type roll struct {
	head    *syncv1.Chunk
	zip     *zstd.Encoder
	entries syncv1.Entries
	size    int
	plain   []byte
	chunks  []*syncv1.StreamResponse
}

func (r *roll) grow(by int) error {
	if r.size += by; r.size < chunkBytes {
		return nil
	}
	return r.cut(false)
}

func (r *roll) cut(last bool) (err error) {
	if r.plain, err = (proto.MarshalOptions{}).MarshalAppend(r.plain[:0], &r.entries); err != nil {
		return fmt.Errorf("encoding chunk %d: %w", len(r.chunks), err)
	}
	r.chunks = append(r.chunks, &syncv1.StreamResponse{Message: &syncv1.StreamResponse_Chunk{Chunk: &syncv1.Chunk{
		Kind: r.head.Kind, Base: r.head.Base, Target: r.head.Target, ExplicitEmpty: r.head.ExplicitEmpty,
		Number: uint32(len(r.chunks)), Last: last, Payload: slices.Clip(r.zip.EncodeAll(r.plain, nil)),
	}}})
	proto.Reset(&r.entries)
	r.size = 0
	return nil
}
