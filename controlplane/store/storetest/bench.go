package storetest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keepgate/keepgate/controlplane/record"
)

// Benchmark measures a store: one row, 50,000 rows in one batch, and the slowest of the single writes that
// go on beside such a batch.
func Benchmark(b *testing.B, open func(b *testing.B) record.Store) {
	b.Run("one row", func(b *testing.B) {
		store, workspace := open(b), uuid.NewString()
		write(b, store, Workspace(workspace))
		for b.Loop() {
			write(b, store, Rows(workspace, 1)[1])
			b.StopTimer()
			write(b, store, deletion(b, store, workspace))
			b.StartTimer()
		}
	})
	b.Run("50,000 rows", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			store, workspace := open(b), uuid.NewString()
			write(b, store, Workspace(workspace))
			changes := Rows(workspace, 25_000)
			b.StartTimer()
			write(b, store, changes...)
		}
	})
	b.Run("one row beside 50,000", func(b *testing.B) {
		for b.Loop() {
			store, workspace := open(b), uuid.NewString()
			write(b, store, Workspace(workspace))
			ctx, done := context.WithCancel(b.Context())
			changes := Rows(workspace, 25_000)
			go func() {
				defer done()
				write(b, store, changes...)
			}()
			var took []time.Duration
			for ctx.Err() == nil {
				start := time.Now()
				write(b, store, Workspace(uuid.NewString()))
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)-1].Milliseconds()), "worst-ms")
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "median-ms")
			b.ReportMetric(float64(len(took)), "writes")
		}
	})
}

func write(b *testing.B, store record.Store, changes ...record.Change) {
	if _, err := store.Apply(b.Context(), batch(changes...)); err != nil {
		b.Error(err)
	}
}

func deletion(b *testing.B, store record.Store, workspace string) record.Change {
	rows, err := store.List(b.Context(), record.Query{Table: "consumers", Workspace: workspace, Limit: 1})
	if err != nil || len(rows) == 0 {
		b.Fatal("the row is not there", err)
	}
	return remove(rows[0])
}
