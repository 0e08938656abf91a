// Package versionstest reads chunks as a data plane does, for tests.
package versionstest

import (
	"testing"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
)

// Unpack returns all that the chunks carry, as a data plane reads it, and the bytes themselves.
func Unpack(t testing.TB, chunks []*syncv1.StreamResponse) (all *syncv1.Entries, plain []byte) {
	t.Helper()
	all = &syncv1.Entries{}
	decoder, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer decoder.Close()
	for i, message := range chunks {
		chunk := message.GetChunk()
		if int(chunk.Number) != i || chunk.Last != (i == len(chunks)-1) {
			t.Fatalf("chunk %d of %d has number %d, last %v", i, len(chunks), chunk.Number, chunk.Last)
		}
		from := len(plain)
		if plain, err = decoder.DecodeAll(chunk.Payload, plain); err != nil {
			t.Fatal(err)
		}
		var entries syncv1.Entries
		if err := proto.Unmarshal(plain[from:], &entries); err != nil {
			t.Fatal(err)
		}
		all.Puts = append(all.Puts, entries.Puts...)
		all.Deletes = append(all.Deletes, entries.Deletes...)
	}
	return all, plain
}
