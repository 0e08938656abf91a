package load_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keepgate/keepgate/e2e/load"
)

func TestRunCountsWhatTheServerCounts(t *testing.T) {
	t.Parallel()
	const enough = 200
	var served, refused atomic.Int64
	until := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := served.Add(1)
		if n == enough {
			close(until)
		}
		if n%10 == 0 {
			refused.Add(1)
			http.Error(w, "no", http.StatusTeapot)
			return
		}
		w.Header().Set("Content-Length", "40000") // more than one read
		_, _ = w.Write([]byte(strings.Repeat("x", 40000)))
	}))
	defer server.Close()
	address := netip.MustParseAddrPort(strings.TrimPrefix(server.URL, "http://"))
	result, err := load.Run(load.Plan{
		Address: address, Request: []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Connections: 8, For: time.Minute, Until: until, Core: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	answered := int64(result.Requests + result.Failures)
	if answered == 0 || answered > served.Load() || answered < served.Load()-8 {
		t.Errorf("%d answered, %d served", answered, served.Load())
	}
	if refusals := refused.Load(); int64(result.Failures) > refusals || int64(result.Failures) < refusals-8 || !strings.Contains(result.Sample, "no") {
		t.Errorf("%d failures of %d, sample %q", result.Failures, refusals, result.Sample)
	}
}

func TestRunSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		_, _ = w.Write([]byte("x"))
	}))
	defer server.Close()
	address := netip.MustParseAddrPort(strings.TrimPrefix(server.URL, "http://"))
	_, err := load.Run(load.Plan{Address: address, Request: []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Connections: 1, For: time.Minute, Core: -1})
	if err == nil {
		t.Error("a connection that is closed after each response made no error")
	}
}
