package versions

import (
	"fmt"
	"testing"

	"github.com/keepgate/keepgate/shared/configset"
)

// BenchmarkEncodeOne leaves the database out: the tree, the difference and the chunk.
func BenchmarkEncodeOne(b *testing.B) {
	for _, size := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			set := configset.Of(func(yield func(configset.Entry) bool) {
				for i := range size {
					if !yield(configset.Entry{Kind: "services", ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i), Body: make([]byte, 120)}) {
						return
					}
				}
			})
			p := newPacker()
			before := &Version{Set: set, packer: p}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				after := &Version{Set: before.Set.Put(configset.Entry{Kind: "services", ID: "00000000-0000-4000-8000-000000000007", Body: fmt.Append(nil, i)}), packer: p}
				if _, err := after.DeltaFrom(before); err != nil {
					b.Fatal(err)
				}
				before = after
			}
		})
	}
}
