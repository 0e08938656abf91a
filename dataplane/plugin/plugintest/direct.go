package plugintest

import (
	"context"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// serveDirect lets the gate serve a request without an engine and its allocations. Every text of it lies in the arena.
func (g *Gate) serveDirect(pool *exchange.Pool, r Request, body *strings.Reader) (status int) {
	ex := pool.Take()
	text := func(s string) string { return ex.Copy([]byte(s)) }
	in := &ex.Request
	in.Peer = exchange.Peer{Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), 4000), Local: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 2}), 8000)}
	in.ClientAddr = in.Remote.Addr()
	in.Method, in.Scheme, in.Host, in.Major, in.Minor = text(r.Method), "http", text(r.Host), 1, 1
	in.Target = text(r.Target)
	in.Path, in.RawQuery, in.HasQuery = strings.Cut(in.Target, "?")
	for i := 0; i+1 < len(r.Headers); i += 2 {
		in.Header.AddParsed(text(r.Headers[i]), text(r.Headers[i+1]))
	}
	if r.Body != "" {
		body.Reset(r.Body)
		in.Body, in.ContentLength = body, int64(len(r.Body))
	}
	ex.Start, ex.Context = time.Now(), context.Background()
	handler := connected{g.proxy, g}
	handler.Serve(ex)
	status = ex.Response.Status
	ex.Mark(exchange.ServeDone)
	ex.Mark(exchange.Done)
	handler.Finish(ex)
	pool.Give(ex)
	return status
}

// direct returns the request as serveDirect takes it. The quiet origin reads no bodies.
func (p Plugin) direct() Request {
	r := p.Request.withDefaults()
	if r.Host == "" {
		r.Host = "gate.test"
	}
	return r
}

// allocates compares the allocations of a request with and without the plugin.
func (p Plugin) allocates(t *testing.T, g *Gate) {
	if poisoned {
		t.Skip("the race detector makes pools forget")
	}
	if p.Request.Body != "" {
		t.Skip("the origin that allocates nothing takes no bodies")
	}
	var pool exchange.Pool
	var body strings.Reader
	request := p.direct()
	measure := func(with bool) float64 {
		g.Configure(p.file("{{quiet}}", with))
		once := func() {
			if status := g.serveDirect(&pool, request, &body); with && status != p.Status {
				t.Errorf("answered %d", status)
			}
		}
		for range 100 {
			once()
		}
		return testing.AllocsPerRun(1000, once)
	}
	if without, with := measure(false), measure(true); with-without > p.Allocations {
		t.Errorf("a request allocates %v times with the plugin, %v without; declared are %v", with, without, p.Allocations)
	}
}

// keepsNothing lets exchanges begin and end whose bytes are overwritten at their end.
func (p Plugin) keepsNothing(t *testing.T, g *Gate) {
	if !poisoned {
		t.Skip("needs -race, which overwrites dead arenas")
	}
	g.Configure(p.file("{{origin}}", true))
	var pool exchange.Pool
	var body strings.Reader
	requests := []Request{p.direct()}
	if p.Refused != nil {
		requests = append(requests, Plugin{Request: p.Refused.Request}.direct())
	}
	for _, request := range requests {
		for range 3 {
			g.serveDirect(&pool, request, &body)
		}
	}
}

// holdsNothing looks for bytes of dead exchanges in what the plugin holds. The gate has stopped.
func (p Plugin) holdsNothing(t *testing.T, g *Gate) {
	found := dead{seen: map[seen]bool{}}
	found.walk(reflect.ValueOf(p.Kind), reflect.TypeOf(p.Kind).String())
	found.walk(reflect.ValueOf(g.Tables.Current().Router), "table")
	for _, where := range found.places {
		t.Errorf("%s holds bytes of an exchange that is over: keep strings.Clone of them", where)
	}
}

// dead finds strings and bytes that were overwritten.
type dead struct {
	seen   map[seen]bool
	places []string
}

type seen struct {
	typ reflect.Type
	at  uintptr
}

func (d *dead) walk(v reflect.Value, where string) {
	switch v.Kind() {
	case reflect.String:
		if strings.Contains(v.String(), "\xDB\xDB") {
			d.places = append(d.places, where)
		}
	case reflect.Pointer:
		if key := (seen{v.Type(), v.Pointer()}); !v.IsNil() && !d.seen[key] {
			d.seen[key] = true
			d.walk(v.Elem(), where)
		}
	case reflect.Interface:
		if !v.IsNil() {
			d.walk(v.Elem(), where+"."+v.Elem().Type().String())
		}
	case reflect.Struct:
		if strings.HasPrefix(v.Type().PkgPath(), "google.golang.org/") {
			return
		}
		for i := range v.NumField() {
			d.walk(v.Field(i), where+"."+v.Type().Field(i).Name)
		}
	case reflect.Map:
		for entries := v.MapRange(); entries.Next(); {
			d.walk(entries.Key(), where+" (key)")
			d.walk(entries.Value(), where)
		}
	case reflect.Slice, reflect.Array:
		d.list(v, where)
	}
}

func (d *dead) list(v reflect.Value, where string) {
	switch v.Type().Elem().Kind() {
	case reflect.Uint8:
		text := make([]byte, v.Len())
		for i := range text {
			text[i] = byte(v.Index(i).Uint())
		}
		if strings.Contains(string(text), "\xDB\xDB") {
			d.places = append(d.places, where)
		}
	case reflect.String, reflect.Pointer, reflect.Interface, reflect.Struct, reflect.Map, reflect.Slice, reflect.Array:
		for i := range v.Len() {
			d.walk(v.Index(i), where)
		}
	}
}
