package versions

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/publish/versions/versionstest"
	"github.com/keepgate/keepgate/shared/configset"
)

func TestALargeUpdateGoesInChunks(t *testing.T) {
	t.Parallel()
	set, deletes := configset.Set{}, []configset.Ref{}
	for i := range 3000 {
		set = set.Put(configset.Entry{Kind: "routes", ID: fmt.Sprint(i), Body: bytes.Repeat([]byte{byte(i)}, 700)})
		deletes = append(deletes, configset.Ref{Kind: "routes", ID: strings.Repeat(fmt.Sprint(i), 70)})
	}
	v := &Version{Number: 1, Set: set}
	New().Of("prod").Set(v)
	chunks, err := v.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if all, plain := versionstest.Unpack(t, chunks); len(all.Puts) != 3000 || len(chunks) < len(plain)/chunkBytes {
		t.Errorf("%d entries in %d chunks", len(all.Puts), len(chunks))
	}
	gone, err := v.packer.encode(chunks[0].GetChunk(), func(func(configset.Entry) bool) {}, deletes)
	if err != nil {
		t.Fatal(err)
	}
	if all, _ := versionstest.Unpack(t, gone); len(all.Deletes) != 3000 || len(gone) < 2 {
		t.Errorf("%d deletes in %d chunks", len(all.Deletes), len(gone))
	}
}

// A kept entry is the same on every node, whatever form a data plane has.
func TestKeptEntriesTravelAsKept(t *testing.T) {
	t.Parallel()
	set := configset.Set{}.Put(configset.Entry{Kind: "plugins", ID: "p", Kept: true, Body: []byte("shell")})
	v := &Version{Number: 1, Set: set}
	New().Of("prod").Set(v)
	chunks, err := v.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	all, _ := versionstest.Unpack(t, chunks)
	if len(all.Puts) != 1 || !all.Puts[0].Kept || string(all.Puts[0].Body) != "shell" {
		t.Errorf("it travels as %v", all.Puts)
	}
}
