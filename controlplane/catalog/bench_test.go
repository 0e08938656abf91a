package catalog_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/catalog"
)

// large makes services with a route and a plugin each, and consumers with a key each.
func large(b *testing.B, n int) (set catalog.Set) {
	b.Helper()
	for i := range n {
		s, r, c := fmt.Sprintf("s%d", i), fmt.Sprintf("r%d", i), fmt.Sprintf("c%d", i)
		set.Items = append(set.Items,
			item(b, "services", `{"id":"`+named("services", s)+`","name":"`+s+`","host":"h"}`),
			item(b, "routes", `{"id":"`+named("routes", r)+`","name":"`+r+`","paths":["/`+r+`"],"service":`+ref("services", s)+`}`),
			item(b, "plugins", `{"id":"`+named("plugins", r)+`","name":"key-auth","service":`+ref("services", s)+`}`),
			item(b, "consumers", `{"id":"`+named("consumers", c)+`","username":"`+c+`"}`),
			item(b, "keyauth_credentials", `{"id":"`+named("keyauth_credentials", c)+`","key":"key-`+c+`","consumer":`+ref("consumers", c)+`}`),
		)
	}
	return set
}

// BenchmarkApply50k pushes 50,000 entities, pushes them again unchanged, and with one change.
func BenchmarkApply50k(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		e, set := newEnv(b), large(b, 10_000)
		b.StartTimer()
		for _, name := range []string{"first", "unchanged", "one-change"} {
			if name == "one-change" {
				set.Items[0].Document["host"] = "other"
			}
			start := time.Now()
			if _, err := e.catalog.Apply(b.Context(), e.ws, set, catalog.ApplyOptions{Delete: true}); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(time.Since(start).Seconds(), "s/"+name)
		}
	}
}
