package prometheus_test

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin/keyauth"
	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
	"github.com/keepgate/keepgate/dataplane/plugin/prometheus"
)

// scrape returns what Prometheus would be shown.
func scrape(t testing.TB, kind *prometheus.Kind) string {
	t.Helper()
	registry := client.NewRegistry()
	if err := registry.Register(kind); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// await waits until everything of want is shown: a request is counted after its response was sent.
func await(t *testing.T, kind *prometheus.Kind, want ...string) (shown string) {
	t.Helper()
	for until := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		shown = scrape(t, kind)
		missing := ""
		for _, one := range want {
			if !strings.Contains(shown, one+"\n") {
				missing = one
			}
		}
		if missing == "" {
			return shown
		}
		if time.Now().After(until) {
			t.Fatalf("%s is missing in\n%s", missing, shown)
		}
	}
}

const shop = `
services: [{name: shop, url: '{{origin}}', routes: [{name: counted, paths: [/counted]}, {name: other, paths: [/other]}]}]
consumers: [{username: al, keyauth_credentials: [{key: k1}]}]
`

func TestCountsWhatIsSwitchedOn(t *testing.T) {
	t.Parallel()
	kind := prometheus.New(nil)
	g := plugintest.New(t, kind, keyauth.Kind{})
	g.Configure(shop + `
plugins:
- {name: prometheus, route: counted, config: {status_code_metrics: true, per_consumer: true, latency_metrics: true, bandwidth_metrics: true}}
- {name: key-auth, route: counted}
`)
	for range 3 {
		g.Get("/counted", "apikey", "k1")
	}
	g.Get("/counted")
	g.Get("/other")
	g.Get("/nothing")
	shown := await(t, kind,
		`kong_http_requests_total{code="200",consumer="al",route="counted",service="shop",source="service",workspace="default"} 3`,
		`kong_http_requests_total{code="401",consumer="",route="counted",service="shop",source="kong",workspace="default"} 1`,
		`kong_request_latency_ms_count{route="counted",service="shop",workspace="default"} 4`,
		`kong_upstream_latency_ms_count{route="counted",service="shop",workspace="default"} 3`,
		`kong_kong_latency_ms_count{route="counted",service="shop",workspace="default"} 4`,
	)
	if strings.Contains(shown, "other") || strings.Contains(shown, `code="404"`) {
		t.Errorf("counts what it was not configured for:\n%s", shown)
	}
	if !strings.Contains(shown, `kong_bandwidth_bytes{consumer="al",direction="ingress",route="counted"`) {
		t.Errorf("no bandwidth in\n%s", shown)
	}
	// Counters go on through changes, and end with their route.
	g.Configure(shop + "plugins: [{name: prometheus, config: {status_code_metrics: true}}]\n")
	g.Get("/nothing")
	g.Get("/other")
	await(t, kind,
		`kong_http_requests_total{code="200",consumer="al",route="counted",service="shop",source="service",workspace="default"} 3`,
		`kong_http_requests_total{code="200",consumer="",route="other",service="shop",source="service",workspace="default"} 1`,
		`kong_http_requests_total{code="404",consumer="",route="",service="",source="kong",workspace="default"} 1`,
	)
	g.Configure(strings.Replace(shop, "name: counted", "name: renamed", 1) + "plugins: [{name: prometheus}]\n")
	if shown := scrape(t, kind); strings.Contains(shown, "counted") || !strings.Contains(shown, `route="other"`) {
		t.Errorf("after the route is gone:\n%s", shown)
	}
	g.Configure(shop)
	if shown := scrape(t, kind); shown != "" {
		t.Errorf("without the plugin it shows\n%s", shown)
	}
}

func TestUpstreamHealth(t *testing.T) {
	t.Parallel()
	kind := prometheus.New(func(visit func(upstream, target, address, state string)) {
		visit("shop", "a.test:80", "10.0.0.1:80", "HEALTHY")
		visit("shop", "a.test:80", "10.0.0.1:80", "UNHEALTHY") // of another workspace, by the same name
		visit("shop", "b.test:80", "", "DNS_ERROR")
	})
	g := plugintest.New(t, kind)
	g.Configure(shop + "plugins: [{name: prometheus}]\n")
	if shown := scrape(t, kind); shown != "" {
		t.Errorf("switched off it shows\n%s", shown)
	}
	g.Configure(shop + "plugins: [{name: prometheus, config: {upstream_health_metrics: true}}]\n")
	shown := scrape(t, kind)
	for _, want := range []string{
		`kong_upstream_target_health{address="10.0.0.1:80",state="healthy",subsystem="http",target="a.test:80",upstream="shop"} 1`,
		`kong_upstream_target_health{address="10.0.0.1:80",state="unhealthy",subsystem="http",target="a.test:80",upstream="shop"} 0`,
		`kong_upstream_target_health{address="",state="dns_error",subsystem="http",target="b.test:80",upstream="shop"} 1`,
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("%s is missing in\n%s", want, shown)
		}
	}
}

// Consumers beyond the bound share a series.
func TestConsumersAreBounded(t *testing.T) {
	t.Parallel()
	kind := prometheus.New(nil)
	g := plugintest.New(t, kind)
	g.Configure(shop + "plugins: [{name: prometheus, config: {status_code_metrics: true, per_consumer: true}}]\n")
	ex := &exchange.Exchange{}
	ex.Response.Status, ex.Response.Origin = 404, exchange.Gateway
	table := g.Tables.Current()
	for i := range 10_100 {
		ex.Consumer.ID = fmt.Sprint(i)
		table.Unmatched.Log(ex, &table.Plugins)
	}
	shown := scrape(t, kind)
	if n := strings.Count(shown, "kong_http_requests_total{"); n != 10_001 || !strings.Contains(shown, `consumer="(others)"`) {
		t.Errorf("%d series", n)
	}
}

// BenchmarkCount is what a request costs on a route with everything switched on.
func BenchmarkCount(b *testing.B) {
	kind := prometheus.New(nil)
	g := plugintest.New(b, kind)
	g.Configure(shop + "plugins: [{name: prometheus, config: {status_code_metrics: true, latency_metrics: true, bandwidth_metrics: true}}]\n")
	ex := &exchange.Exchange{}
	ex.Start, ex.Response.Status = time.Now(), 404
	ex.Mark(exchange.Done)
	table := g.Tables.Current()
	b.ReportAllocs()
	for b.Loop() {
		table.Unmatched.Log(ex, &table.Plugins)
	}
}

func FuzzNew(f *testing.F) {
	f.Add([]byte{0x08, 0x01})
	f.Fuzz(func(t *testing.T, config []byte) { plugintest.TryNew(t, prometheus.New(nil), config) })
}
