package proxy_test

import (
	"testing"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
	"github.com/keepgate/keepgate/dataplane/proxy"
	"github.com/keepgate/keepgate/dataplane/table"
)

// A node that was shut out says so, whatever is asked.
func TestAfterBeingShutOut(t *testing.T) {
	t.Parallel()
	tables := table.NewHolder()
	tables.Swap(table.NewShut(&plugin.Refusal{Status: 503, Message: "shut out"}))
	p := proxy.New(tables, proxy.Options{})
	for _, method := range []string{"GET", "POST", "TRACE", "OPTIONS"} {
		var pool exchange.Pool
		ex := pool.Take()
		ex.Request.Method, ex.Request.Scheme, ex.Request.Host, ex.Request.Path = method, "http", "a", "/"
		p.Serve(ex)
		if ex.Response.Status != 503 {
			t.Errorf("%s: status %d, want 503", method, ex.Response.Status)
		}
		p.Finish(ex)
		pool.Give(ex)
	}
}

// A node that has never held a configuration still answers, to requests good and malformed.
func TestBeforeTheFirstConfiguration(t *testing.T) {
	t.Parallel()
	p := proxy.New(table.NewHolder(), proxy.Options{})
	for status, serve := range map[int]func(*exchange.Exchange){
		404: p.Serve,
		400: func(ex *exchange.Exchange) { p.Refuse(ex, 400, "a test") },
	} {
		var pool exchange.Pool
		ex := pool.Take()
		ex.Request.Method, ex.Request.Scheme, ex.Request.Host, ex.Request.Path = "GET", "http", "a", "/"
		serve(ex)
		if ex.Response.Status != status {
			t.Errorf("status %d, want %d", ex.Response.Status, status)
		}
		p.Finish(ex)
		pool.Give(ex)
	}
}
