package storetest

import (
	"flag"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keepgate/keepgate/controlplane/record"
)

var sealedRows = flag.Int("rows", 100_000, "how many credentials the benchmark of sealed values works on")

// BenchmarkSealed measures what re-encryption asks of a store: reading all credentials page by page, writing
// them sealed anew, and counting them by key.
func BenchmarkSealed(b *testing.B, open func(b *testing.B) record.Store) {
	const page = 1000
	store, workspace := open(b), uuid.NewString()
	fillSealed(b, store, workspace)
	rate := func(b *testing.B, started time.Time) {
		b.ReportMetric(float64(*sealedRows)*float64(b.N)/time.Since(started).Seconds(), "rows/s")
		b.ReportMetric(0, "ns/op")
	}
	for name, query := range map[string]record.Query{
		"reading all workspaces": {Table: "basicauth_credentials", AnyWorkspace: true, Limit: page},
		"reading a workspace":    {Table: "basicauth_credentials", Workspace: workspace, Limit: page},
	} {
		b.Run(name, func(b *testing.B) {
			started := time.Now()
			for b.Loop() {
				for range pages(b, store, query) {
				}
			}
			rate(b, started)
		})
	}
	b.Run("sealing anew", func(b *testing.B) {
		var took time.Duration
		round := 0
		for b.Loop() {
			round++
			for rows := range pages(b, store, record.Query{Table: "basicauth_credentials", AnyWorkspace: true, Limit: page}) {
				fresh := make([]record.Resealed, len(rows))
				for i, row := range rows {
					fresh[i] = record.Resealed{ID: row.ID, Generation: row.Generation, Sealed: bothSealed(fmt.Sprintf("key%05d", round%100_000))}
				}
				started := time.Now()
				conflicts, err := store.Reseal(b.Context(), "basicauth_credentials", fresh)
				took += time.Since(started)
				if err != nil || len(conflicts) > 0 {
					b.Fatalf("%d conflicts, %v", len(conflicts), err)
				}
			}
		}
		b.ReportMetric(float64(*sealedRows)*float64(b.N)/took.Seconds(), "rows/s")
		b.ReportMetric(0, "ns/op")
	})
	b.Run("counting", func(b *testing.B) {
		for b.Loop() {
			counts, err := store.CountSealed(b.Context())
			if err != nil || len(counts) == 0 || counts[0].Rows != *sealedRows {
				b.Fatal(counts, err)
			}
		}
	})
}

// bothSealed is as long as a password's hash and its check are, sealed.
func bothSealed(key string) map[string]string {
	return map[string]string{"password": sealed(key, strings.Repeat("5", 48+1+2*(97+16))), "password_check": sealed(key, strings.Repeat("6", 48+1+2*(32+16)))}
}

func fillSealed(b *testing.B, store record.Store, workspace string) {
	rows := &bench{workspace: workspace}
	consumer := rows.consumer(newID(), "ann")
	write(b, store, Workspace(workspace), insert(consumer))
	const step = 20_000
	for done := 0; done < *sealedRows; done += step {
		changes := make([]record.Change, 0, step)
		for n := range min(step, *sealedRows-done) {
			row := rows.credential(newID(), consumer.ID, fmt.Sprint("user-", done+n))
			row.Sealed, row.Tags = bothSealed("key00000"), []string{"bulk", fmt.Sprint("shard-", n%16)}
			row.Body = fmt.Appendf(nil, `{"id":"%s","username":"user-%d","created_at":1700000000,"updated_at":1700000000}`, row.ID, done+n)
			changes = append(changes, insert(row))
		}
		write(b, store, changes...)
	}
}

func pages(b *testing.B, store record.Store, query record.Query) iter.Seq[[]record.Row] {
	return func(yield func([]record.Row) bool) {
		read := 0
		for {
			rows, err := store.List(b.Context(), query)
			if err != nil {
				b.Fatal(err)
			}
			if len(rows) == 0 {
				break
			}
			read, query.After = read+len(rows), rows[len(rows)-1].ID
			if !yield(rows) {
				return
			}
		}
		if read != *sealedRows {
			b.Fatalf("%d rows were read", read)
		}
	}
}
