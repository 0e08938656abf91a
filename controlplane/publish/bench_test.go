package publish

import (
	"fmt"
	"testing"

	"github.com/keepgate/keepgate/controlplane/publish/versions"
	"github.com/keepgate/keepgate/controlplane/publish/wire"
	"github.com/keepgate/keepgate/controlplane/record"
)

// filled is a loaded control plane with n services.
func filled(b *testing.B, n int) (*env, func(i int) record.Row) {
	b.Helper()
	e := newEnv(b)
	row := func(i int) record.Row {
		return record.Row{
			Table: "services", Workspace: e.ws, ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i),
			Unique: map[string]string{"name": fmt.Sprint("s", i)},
			Body: fmt.Appendf(nil, `{"name":"s%d","host":"backend-%d.example","port":8080,"protocol":"http","retries":5,`+
				`"connect_timeout":60000,"read_timeout":60000,"write_timeout":60000,"enabled":true,"created_at":1,"updated_at":1}`, i, i),
		}
	}
	for from := 0; from < n; from += 10_000 {
		var batch record.Batch
		for i := from; i < min(from+10_000, n); i++ {
			batch.Changes = append(batch.Changes, record.Change{Row: row(i)})
		}
		_, err := e.store.Apply(b.Context(), batch)
		e.must(err)
	}
	e.must(e.publisher.load(b.Context()))
	return e, row
}

func BenchmarkOneChangeIn(b *testing.B) {
	for _, size := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			e, row := filled(b, size)
			ctx := b.Context()
			b.ReportAllocs()
			bytes := 0
			b.ResetTimer()
			for i := 0; i < b.N; i++ {
				b.StopTimer()
				changed := row(i % size)
				stored, err := e.store.Get(ctx, changed.Table, e.ws, changed.ID)
				e.must(err)
				changed.Body = fmt.Appendf(nil, `{"name":"s%d","host":"other-%d.example","port":8080,"protocol":"http","created_at":1,"updated_at":%d}`, i%size, i, i)
				_, err = e.store.Apply(ctx, record.Batch{Changes: []record.Change{{Row: changed, Expect: stored.Generation}}})
				e.must(err)
				before, _ := e.publisher.environments.Of(wire.DefaultEnvironment).Newest()
				b.StartTimer()
				batch, err := e.store.History(ctx, e.publisher.Seen(), historyLimit)
				e.must(err)
				e.must(e.publisher.advance(ctx, batch))
				after, _ := e.publisher.environments.Of(wire.DefaultEnvironment).Newest()
				chunks, err := after.DeltaFrom(before)
				e.must(err)
				bytes += len(chunks[0].GetChunk().Payload)
			}
			b.ReportMetric(float64(bytes)/float64(b.N), "payload-B/op")
		})
	}
}

func BenchmarkLoadAndEncode100k(b *testing.B) {
	e, _ := filled(b, 100_000)
	b.Run("load", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e.must(e.publisher.load(b.Context()))
		}
	})
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		bytes, v, again := 0, e.caughtUp(), versions.New().Of("again")
		for number := uint64(0); b.Loop(); number++ {
			next := &versions.Version{Number: number, Set: v.Set}
			again.Set(next)
			chunks, err := next.Snapshot()
			e.must(err)
			bytes = 0
			for _, c := range chunks {
				bytes += len(c.GetChunk().Payload)
			}
		}
		b.ReportMetric(float64(bytes), "payload-B/op")
	})
}

// BenchmarkTagChangeIn moves one route between two environments, of three, by its tag.
func BenchmarkTagChangeIn(b *testing.B) {
	for _, size := range []int{100, 10_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			e, _ := filled(b, size)
			ctx := b.Context()
			e.environment(`{"name":"prod","select_tags":["prod"]}`)
			e.environment(`{"name":"staging","select_tags":["staging"]}`)
			e.insert("routes", `{"name":"moving","paths":["/"]}`)
			e.must(e.publisher.load(ctx))
			b.ReportAllocs()
			bytes := 0
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				e.update("routes", "moving", fmt.Sprintf(`{"tags":[%q]}`, []string{"prod", "staging"}[i%2]))
				before := map[string]*versions.Version{}
				for _, name := range e.publisher.Environments() {
					before[name], _ = e.publisher.environments.Of(name).Newest()
				}
				b.StartTimer()
				batch, err := e.store.History(ctx, e.publisher.Seen(), historyLimit)
				e.must(err)
				e.must(e.publisher.advance(ctx, batch))
				for name, from := range before {
					to, _ := e.publisher.environments.Of(name).Newest()
					chunks, err := to.DeltaFrom(from)
					e.must(err)
					bytes += len(chunks[0].GetChunk().Payload)
				}
			}
			b.ReportMetric(float64(bytes)/float64(b.N), "payload-B/op")
		})
	}
}
