package requestsizelimiting_test

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
	"github.com/keepgate/keepgate/dataplane/plugin/requestsizelimiting"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
)

func instance(t *testing.T, c *pluginv1.RequestSizeLimiting) plugin.Accesser {
	t.Helper()
	body, err := proto.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	made, err := requestsizelimiting.Kind{}.New(body, plugintest.Env())
	if err != nil {
		t.Fatal(err)
	}
	return made.(plugin.Accesser)
}

func TestAccess(t *testing.T) {
	t.Parallel()
	bytes := func(n int64) *pluginv1.RequestSizeLimiting {
		return &pluginv1.RequestSizeLimiting{AllowedPayloadSize: &n, SizeUnit: new("bytes")}
	}
	for name, test := range map[string]struct {
		config *pluginv1.RequestSizeLimiting
		length int64 // -1: unknown
		body   string
		expect bool
		status int
		limit  int64 // that streaming is cut at
	}{
		"as large as allowed":      {config: bytes(10), length: 10},
		"a byte more":              {config: bytes(10), length: 11, status: 413},
		"a byte more, waiting":     {config: bytes(10), length: 11, expect: true, status: 417},
		"none":                     {config: bytes(10)},
		"unknown":                  {config: bytes(10), length: -1, limit: 10},
		"default":                  {config: &pluginv1.RequestSizeLimiting{}, length: 128 << 20},
		"more than the default":    {config: &pluginv1.RequestSizeLimiting{}, length: 128<<20 + 1, status: 413},
		"kilobytes":                {config: &pluginv1.RequestSizeLimiting{AllowedPayloadSize: new(int64(1)), SizeUnit: new("kilobytes")}, length: 1025, status: 413},
		"nothing allowed":          {config: bytes(0), length: 1, status: 413},
		"nothing allowed, none":    {config: bytes(0)},
		"nothing allowed, unknown": {config: bytes(0), length: -1, body: "x", status: 413},
		"nothing allowed, empty":   {config: bytes(0), length: -1},
		"required":                 {config: &pluginv1.RequestSizeLimiting{RequireContentLength: new(true)}, length: -1, status: 411},
		"required, none":           {config: &pluginv1.RequestSizeLimiting{RequireContentLength: new(true)}},
		"beyond all numbers":       {config: &pluginv1.RequestSizeLimiting{AllowedPayloadSize: new(int64(math.MaxInt64))}, length: math.MaxInt64},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ex := new(exchange.Exchange)
			ex.NeedSlots(4)
			ex.Request.ContentLength, ex.Request.Body, ex.Request.ExpectContinue = test.length, strings.NewReader(test.body), test.expect
			instance(t, test.config).Access(ex, nil)
			if ex.Response.Status != test.status || ex.Request.BodyLimit != test.limit {
				t.Errorf("status %d, limit %d; want %d, %d", ex.Response.Status, ex.Request.BodyLimit, test.status, test.limit)
			}
		})
	}
}

func TestALowerLimitOfTheNodeStays(t *testing.T) {
	t.Parallel()
	ex := new(exchange.Exchange)
	ex.NeedSlots(4)
	ex.Request.ContentLength, ex.Request.BodyLimit = -1, 100
	instance(t, &pluginv1.RequestSizeLimiting{}).Access(ex, nil)
	if ex.Request.BodyLimit != 100 {
		t.Errorf("limit %d", ex.Request.BodyLimit)
	}
}

func TestConfigurationsThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]*pluginv1.RequestSizeLimiting{
		"a negative size": {AllowedPayloadSize: new(int64(-1))}, "an unknown unit": {SizeUnit: new("bits")},
	} {
		body, err := proto.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if made, err := (requestsizelimiting.Kind{}).New(body, plugintest.Env()); err == nil {
			t.Errorf("%s: made a %T", name, made)
		}
	}
}

// A body without a length streams, and is cut where it passes the limit: the upstream never sees a whole one.
func TestStreamsAreCut(t *testing.T) {
	t.Parallel()
	whole := make(chan int64, 100)
	origin := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if n, err := io.Copy(io.Discard, r.Body); err == nil {
			whole <- n
		}
	}))
	t.Cleanup(origin.Close)
	g := plugintest.New(t, requestsizelimiting.Kind{})
	g.Configure(`
services: [{name: s, url: "` + origin.URL + `", routes: [{name: r, paths: [/]}]}]
plugins: [{name: request-size-limiting, config: {allowed_payload_size: 64, size_unit: kilobytes}}]
`)
	for _, engine := range plugintest.Engines() {
		for size, want := range map[int64]int{0: 200, 64 << 10: 200, 64<<10 + 1: 413, 200 << 10: 413} {
			transport := &http.Transport{Protocols: new(http.Protocols)}
			transport.Protocols.SetHTTP1(engine == plugintest.HTTP1)
			transport.Protocols.SetUnencryptedHTTP2(engine == plugintest.HTTP2)
			body := io.LimitReader(endless{}, size) // not known to have a length
			request, err := http.NewRequestWithContext(t.Context(), "POST", g.URL(engine)+"/", io.NopCloser(body))
			if err != nil {
				t.Fatal(err)
			}
			response, err := transport.RoundTrip(request)
			if err != nil && size > 64<<10+1 {
				continue // the connection was closed while the client was still sending
			}
			if err != nil {
				t.Fatalf("engine %q, %d bytes: %v", engine, size, err)
			}
			text, _ := io.ReadAll(response.Body)
			_ = response.Body.Close()
			transport.CloseIdleConnections()
			if response.StatusCode != want || want == 413 && !strings.Contains(string(text), "Request size limit exceeded") {
				t.Errorf("engine %q, %d bytes: %d %s", engine, size, response.StatusCode, text)
			}
		}
	}
	close(whole)
	for n := range whole {
		if n > 64<<10 {
			t.Errorf("a body of %d bytes reached the origin", n)
		}
	}
}

// endless is a body of x.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// Who waits for "100 Continue" with a body that is too large is told before it sends any of it.
func TestExpectation(t *testing.T) {
	t.Parallel()
	g := plugintest.New(t, requestsizelimiting.Kind{})
	g.Configure(`
services: [{name: s, url: "{{origin}}", routes: [{name: r, paths: [/]}]}]
plugins: [{name: request-size-limiting, config: {allowed_payload_size: 10, size_unit: bytes}}]
`)
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL(plugintest.HTTP1), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != 417 || g.Origin.Requests() != 0 {
		t.Errorf("answered %d, %d requests reached the origin", response.StatusCode, g.Origin.Requests())
	}
}
