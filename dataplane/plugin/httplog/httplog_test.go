package httplog_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/plugin/httplog"
	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
)

const patience = 30 * time.Second

// sink is an endpoint.
type sink struct {
	*httptest.Server
	answer  atomic.Int64 // status; 0: 200
	mu      sync.Mutex
	heads   []http.Header // guarded by mu; of accepted requests
	batches [][]any       // guarded by mu; of accepted requests
	tried   atomic.Int64
}

func newSink(t *testing.T, start func(http.Handler) *httptest.Server) *sink {
	t.Helper()
	s := &sink{}
	s.Server = start(s)
	t.Cleanup(s.Close)
	return s
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.tried.Add(1)
	body, _ := io.ReadAll(r.Body)
	if status := s.answer.Load(); status != 0 {
		w.WriteHeader(int(status))
		return
	}
	var batch []any
	if json.Unmarshal(body, &batch) != nil {
		var one any
		if json.Unmarshal(body, &one) != nil {
			w.WriteHeader(400)
			return
		}
		batch = []any{one}
	}
	r.Header.Set("Method", r.Method)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heads, s.batches = append(s.heads, r.Header), append(s.batches, batch)
}

func (s *sink) records() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, batch := range s.batches {
		n += len(batch)
	}
	return n
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for until := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func file(config string) string {
	return "services: [{name: shop, url: '{{origin}}', routes: [{name: r, paths: [/]}]}]\nplugins: [{name: http-log, config: " + config + "}]\n"
}

func TestOneRecordARequest(t *testing.T) {
	t.Parallel()
	s := newSink(t, httptest.NewServer)
	g := plugintest.New(t, httplog.New(httplog.Options{}))
	g.Configure(file(fmt.Sprintf(`{http_endpoint: %q, method: PUT, headers: {x-team: blue}}`, strings.Replace(s.URL, "://", "://al:pass@", 1))))
	g.Get("/one")
	await(t, "a record", func() bool { return s.records() == 1 })
	head := s.heads[0]
	if head.Get("Authorization") != "Basic YWw6cGFzcw==" || head.Get("X-Team") != "blue" || head.Get("Method") != "PUT" || head.Get("Content-Type") != "application/json" {
		t.Errorf("sent with %v", head)
	}
	if uri := s.batches[0][0].(map[string]any)["request"].(map[string]any)["uri"]; uri != "/one" {
		t.Errorf("record of %v", uri)
	}
}

// Records wait for others, but when the gate stops they are sent.
func TestBatches(t *testing.T) {
	t.Parallel()
	s := newSink(t, httptest.NewServer)
	g := plugintest.New(t, httplog.New(httplog.Options{Drain: patience}))
	g.Configure(file(fmt.Sprintf(`{http_endpoint: %q, queue: {max_batch_size: 4, max_coalescing_delay: 3600}}`, s.URL)))
	for range 10 {
		g.Get("/")
	}
	await(t, "full batches", func() bool { return s.records() == 8 })
	g.Stop()
	var sizes []int
	for _, batch := range s.batches {
		sizes = append(sizes, len(batch))
	}
	if fmt.Sprint(sizes) != "[4 4 2]" {
		t.Errorf("batches of %v", sizes)
	}
}

func TestRetries(t *testing.T) {
	t.Parallel()
	s := newSink(t, httptest.NewServer)
	s.answer.Store(503)
	kind := httplog.New(httplog.Options{})
	g := plugintest.New(t, kind)
	g.Configure(file(fmt.Sprintf(`{http_endpoint: %q, queue: {initial_retry_delay: 0.001, max_retry_delay: 0.002}}`, s.URL)))
	g.Get("/")
	await(t, "some tries", func() bool { return s.tried.Load() > 3 })
	s.answer.Store(0)
	await(t, "the record", func() bool { return s.records() == 1 })
	if kind.Dropped() != 0 {
		t.Errorf("dropped %d", kind.Dropped())
	}
}

// After max_retry_time a batch is lost, and the operator told why without the endpoint.
func TestGivesUp(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ endpoint, why string }{
		"refuses":   {"http://user:s3cret@127.0.0.1:1/s3cret", "connection refused"},
		"no name":   {"http://s3cret.invalid/", "name"},
		"answers":   {"", "answered 503"},
		"untrusted": {"https", "not trusted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := plugintest.NewLog()
			kind := httplog.New(httplog.Options{Log: log.Logger(), Roots: x509.NewCertPool()})
			g := plugintest.New(t, kind)
			endpoint := test.endpoint
			switch endpoint {
			case "":
				s := newSink(t, httptest.NewServer)
				s.answer.Store(503)
				endpoint = s.URL + "/s3cret"
			case "https":
				endpoint = newSink(t, quietTLS).URL + "/s3cret"
			}
			g.Configure(file(fmt.Sprintf(`{http_endpoint: %q, queue: {max_retry_time: 0, initial_retry_delay: 0.001}}`, endpoint)))
			g.Get("/")
			await(t, "a loss", func() bool { return kind.Dropped() == 1 && log.String() != "" })
			if said := log.String(); !strings.Contains(said, test.why) || strings.Contains(said, "s3cret") {
				t.Errorf("said %s", said)
			}
		})
	}
}

func quietTLS(h http.Handler) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = nil
	s.TLS = &tls.Config{}
	s.StartTLS()
	return s
}

func TestTrustedEndpoint(t *testing.T) {
	t.Parallel()
	s := newSink(t, httptest.NewTLSServer)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	g := plugintest.New(t, httplog.New(httplog.Options{Roots: roots}))
	g.Configure(file(fmt.Sprintf(`{http_endpoint: %q}`, s.URL)))
	g.Get("/")
	await(t, "a record", func() bool { return s.records() == 1 })
}

// A queue that is full loses the oldest.
func TestFullQueueLosesTheOldest(t *testing.T) {
	t.Parallel()
	s := newSink(t, httptest.NewServer)
	kind := httplog.New(httplog.Options{Drain: patience})
	g := plugintest.New(t, kind)
	hold, taken := make(chan struct{}), make(chan struct{}, 100)
	blocked := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { taken <- struct{}{}; <-hold; s.ServeHTTP(w, r) }))
	t.Cleanup(blocked.Close)
	g.Configure(file(fmt.Sprintf(`{http_endpoint: %q, queue: {max_entries: 3}}`, blocked.URL)))
	g.Get("/0")
	<-taken
	for range 4 {
		g.Get("/n")
	}
	await(t, "a full queue", func() bool { return kind.Dropped() == 1 })
	for i := 1; i <= 5; i++ {
		before := kind.Dropped()
		g.Get(fmt.Sprintf("/%d", i))
		await(t, "the oldest to be lost", func() bool { return kind.Dropped() == before+1 })
	}
	close(hold)
	g.Stop()
	var uris []string
	for _, batch := range s.batches {
		uris = append(uris, batch[0].(map[string]any)["request"].(map[string]any)["uri"].(string))
	}
	if got := strings.Join(uris[max(0, len(uris)-3):], " "); got != "/3 /4 /5" {
		t.Errorf("the last ones are %v", uris)
	}
}

// What cannot be used is quarantined with a reason that shows nothing of it.
func TestQuarantined(t *testing.T) {
	t.Parallel()
	g := plugintest.New(t, httplog.New(httplog.Options{}))
	list := g.TryConfigure(file(`{http_endpoint: "{vault://hcv/s3cret/url}"}`))
	if len(list) != 1 || !strings.Contains(list[0].Reason, "config.http_endpoint") || strings.Contains(list[0].Reason, "s3cret") {
		t.Errorf("quarantined %v", list)
	}
	if reply := g.Get("/"); reply.Status != 503 {
		t.Errorf("a quarantined plugin lets pass: %d", reply.Status)
	}
}

// What references lead to is the endpoint and the headers from the next configuration on.
func TestReferences(t *testing.T) {
	t.Parallel()
	s := newSink(t, httptest.NewServer)
	g := plugintest.New(t, httplog.New(httplog.Options{}))
	g.Refer("{vault://env/log-url}", s.URL)
	g.Refer("{vault://hcv/log/key}", "first")
	configured := file(`{http_endpoint: "{vault://env/log-url}", headers: {X-Key: "{vault://hcv/log/key}"}}`)
	g.Configure(configured)
	g.Get("/")
	await(t, "a record", func() bool { return s.records() == 1 })
	g.Refer("{vault://hcv/log/key}", "second")
	g.Configure(configured)
	g.Get("/")
	await(t, "another record", func() bool { return s.records() == 2 })
	s.mu.Lock()
	first, second := s.heads[0].Get("X-Key"), s.heads[1].Get("X-Key")
	s.mu.Unlock()
	if first != "first" || second != "second" {
		t.Errorf("the keys were %q and %q", first, second)
	}
	for _, bad := range []string{"no URL s3cret", "http://h/\x00", ""} {
		g.Refer("{vault://env/log-url}", bad)
		if list := g.TryConfigure(configured); len(list) != 1 || strings.Contains(list[0].Reason, "s3cret") {
			t.Errorf("%q: quarantined %v", bad, list)
		}
	}
}

// Configurations come and go by the thousand, each with records; their senders end.
func TestVanishedConfigurationsEnd(t *testing.T) {
	t.Parallel()
	s := newSink(t, httptest.NewServer)
	kind := httplog.New(httplog.Options{})
	g := plugintest.New(t, kind)
	for i := range 1000 {
		g.Configure(file(fmt.Sprintf(`{http_endpoint: "%s/%d"}`, s.URL, i)))
		g.Get("/")
	}
	await(t, "all records", func() bool { return s.records() == 1000 })
	await(t, "their senders to end", func() bool {
		runtime.GC()
		stacks := make([]byte, 16<<20)
		return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "httplog.(*queue).send") < 20 // those of other tests
	})
	g.Stop()
}

// Records of a configuration that is gone are given up when its endpoint does not take them.
func TestVanishedConfigurationsGiveUp(t *testing.T) {
	t.Parallel()
	s := newSink(t, httptest.NewServer)
	s.answer.Store(503)
	kind := httplog.New(httplog.Options{Grace: 20 * time.Millisecond})
	g := plugintest.New(t, kind)
	g.Configure(file(fmt.Sprintf(`{http_endpoint: %q, queue: {max_retry_time: 1000000, initial_retry_delay: 1000, max_retry_delay: 1000000}}`, s.URL)))
	for range 50 {
		g.Get("/")
	}
	await(t, "a try", func() bool { return s.tried.Load() > 0 })
	g.Configure("services: []")
	await(t, "all to be given up", func() bool { runtime.GC(); return kind.Dropped() == 50 })
}

func TestNewAfterTheEnd(t *testing.T) {
	t.Parallel()
	kind := httplog.New(httplog.Options{})
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := kind.Run(ctx); err == nil {
		t.Error("Run ended without the reason")
	}
	if made, err := kind.New(plugintest.Config(t, "http-log", `{"http_endpoint":"http://127.0.0.1:1"}`), plugintest.Env()); err != nil || made == nil {
		t.Errorf("%v %v", made, err)
	}
}

func FuzzNew(f *testing.F) {
	f.Add([]byte("\x0a\x0ahttp://a:b/"))
	f.Fuzz(func(t *testing.T, config []byte) { plugintest.TryNew(t, httplog.New(httplog.Options{}), config) })
}
