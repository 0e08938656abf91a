package accesslog_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/dataplane/accesslog"
	"github.com/keepgate/keepgate/dataplane/exchange"
)

// Requests that end while the listeners drain are logged too, though the log's own part has stopped.
func TestLinesAfterTheEnd(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := accesslog.New(&out, accesslog.Common)
	var pool exchange.Pool
	ctx, stop := context.WithCancel(t.Context())
	stop()
	_ = log.Run(ctx)
	for range 3 {
		ex := pool.Take()
		fill(ex, "/late")
		log.Write(ex, nil, "")
		pool.Give(ex)
	}
	if n := strings.Count(out.String(), "GET /late"); n != 3 {
		t.Errorf("%d lines of 3", n)
	}
}
