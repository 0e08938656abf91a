package http2

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

func newTrip(options Options) *trip {
	ex := new(exchange.Pool).Take()
	ex.Request.Method = "GET"
	return &trip{conn: &Conn{pool: NewPool(true, options)}, ex: ex, cancel: func(error) {}, timer: time.NewTimer(time.Hour)}
}

func response(status int, header http.Header) *http.Response {
	return &http.Response{
		StatusCode: status, Header: header, ContentLength: -1, Body: io.NopCloser(strings.NewReader("body")), Request: &http.Request{Method: "GET"},
	}
}

func TestRequest(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		fields  []string // name, value
		head    client.Head
		wants   bool // trailers
		options Options
		want    http.Header
		method  string
		url     string
	}{
		"plain": {
			fields: []string{"accept", "a", "X-One", "1"}, head: client.Head{Target: "/x?y", Host: "h"},
			want: http.Header{"Accept": {"a"}, "X-One": {"1"}, "User-Agent": {""}}, method: "GET", url: "https:/x?y",
		},
		"fields of this hop stay": {
			fields: []string{"Connection", "x", "Keep-Alive", "1", "Transfer-Encoding", "chunked", "TE", "gzip", "Upgrade", "h2c", "Content-Length", "7", "Host", "evil", "A", "b"},
			head:   client.Head{Target: "/", Host: "h"}, want: http.Header{"A": {"b"}, "User-Agent": {""}}, method: "GET", url: "https:/",
		},
		"several of a name": {
			fields: []string{"x-a", "1", "B", "2", "X-A", "3", "x-A", "4"}, head: client.Head{Target: "/", Host: "h"},
			want: http.Header{"X-A": {"1", "3", "4"}, "B": {"2"}, "User-Agent": {""}}, method: "GET", url: "https:/",
		},
		"the client's own name":               {fields: []string{"User-Agent", "curl"}, head: client.Head{Target: "/", Host: "h"}, want: http.Header{"User-Agent": {"curl"}}, method: "GET", url: "https:/"},
		"trailers for gRPC":                   {head: client.Head{Target: "/", Host: "h"}, options: Options{Trailers: true}, want: http.Header{"User-Agent": {""}, "Te": {"trailers"}}, method: "GET", url: "https:/"},
		"trailers that are used":              {head: client.Head{Target: "/", Host: "h"}, wants: true, want: http.Header{"User-Agent": {""}, "Te": {"trailers"}}, method: "GET", url: "https:/"},
		"another method":                      {head: client.Head{Method: "PUT", Target: "/", Host: "h"}, want: http.Header{"User-Agent": {""}}, method: "PUT", url: "https:/"},
		"a path that looks like an authority": {head: client.Head{Target: "//evil/x", Host: "h"}, want: http.Header{"User-Agent": {""}}, method: "GET", url: "https://h//evil/x"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			trip := newTrip(test.options)
			for i := 0; i < len(test.fields); i += 2 {
				trip.ex.Request.Header.AddParsed(test.fields[i], test.fields[i+1])
			}
			trip.ex.Request.WantsTrailers = test.wants
			got := trip.request(t.Context(), &test.head)
			if diff := cmp.Diff(test.want, got.Header); diff != "" || got.Method != test.method || got.Host != "h" || got.URL.String() != test.url || got.Body != nil {
				t.Errorf("%s %s %s\n%s", got.Method, got.Host, got.URL, diff)
			}
		})
	}
}

// What a request says outlives the exchange: the connection may still write it.
func TestRequestIsACopy(t *testing.T) {
	t.Parallel()
	trip := newTrip(Options{})
	for _, text := range []string{"X-Canonical", "x-lower", "Accept"} {
		trip.ex.Request.Header.AddParsed(trip.ex.Copy([]byte(text)), trip.ex.Copy([]byte("of "+text)))
	}
	got := trip.request(t.Context(), &client.Head{Target: trip.ex.Copy([]byte("/target")), Host: trip.ex.Copy([]byte("host"))})
	trip.ex.Reset()
	for range 64 {
		trip.ex.Copy([]byte(strings.Repeat("#", 64)))
	}
	want := http.Header{"X-Canonical": {"of X-Canonical"}, "X-Lower": {"of x-lower"}, "Accept": {"of Accept"}, "User-Agent": {""}}
	if diff := cmp.Diff(want, got.Header); diff != "" || got.Host != "host" || got.URL.Opaque != "/target" {
		t.Errorf("%s %s\n%s", got.Host, got.URL, diff)
	}
}

func TestDeliverRefuses(t *testing.T) {
	t.Parallel()
	many := http.Header{}
	for i := range maxFields + 1 {
		many.Add(fmt.Sprintf("X-%d", i), "v")
	}
	tests := map[string]struct {
		status int
		header http.Header
		want   error
	}{
		"an interim status":  {199, nil, errStatus},
		"no status":          {600, nil, errStatus},
		"too many fields":    {200, many, errFields},
		"many of one name":   {200, http.Header{"X": slices.Repeat([]string{"v"}, maxFields+1)}, errFields},
		"a line end":         {200, http.Header{"X": {"a\r\nSet-Cookie: b"}}, errField},
		"a NUL":              {200, http.Header{"X": {"a\x00"}}, errField},
		"a name with blanks": {200, http.Header{"X y": {"a"}}, errField},
		"no name":            {200, http.Header{"": {"a"}}, errField},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var failure *client.Error
			if err := newTrip(Options{}).deliver(response(test.status, test.header)); !errors.As(err, &failure) || failure.Kind != client.Malformed || !errors.Is(err, test.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestClassify(t *testing.T) {
	t.Parallel()
	peer := errors.New("received from peer")
	tests := map[string]struct {
		err  error
		uses int
		kind client.Kind
		sent bool
	}{
		"not looked at, first request": {errors.New("http2: client conn is closed"), 1, client.Closed, false},
		"not looked at, later":         {errors.New("x: http2: client conn not usable"), 2, client.Stale, false},
		"refused":                      {streamError{Code: codeRefused, Cause: peer}, 2, client.Closed, false},
		"overload":                     {streamError{Code: codeEnhanceCalm, Cause: peer}, 2, client.Closed, true},
		"reset by the peer":            {streamError{Code: 0x2, Cause: peer}, 2, client.Closed, true},
		"wants HTTP/1.1":               {streamError{Code: codeHTTP11Required, Cause: peer}, 2, client.Closed, true},
		"the peer saw a fault":         {streamError{Code: codeProtocol, Cause: peer}, 2, client.Malformed, true},
		"we saw one":                   {streamError{Code: codeProtocol}, 2, client.Malformed, true},
		"a connection in disorder":     {errors.New("connection error: FLOW_CONTROL_ERROR"), 2, client.Malformed, true},
		"a head too large":             {errors.New("net/http: response header list larger than advertised limit"), 2, client.Malformed, true},
		"the end":                      {io.ErrUnexpectedEOF, 2, client.Closed, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			trip := newTrip(Options{})
			trip.conn.uses = test.uses
			if got := trip.classify(test.err); got.Kind != test.kind || got.Sent != test.sent {
				t.Errorf("%+v", got)
			}
		})
	}
}

// FuzzDeliver holds that nothing gets from an upstream's header or trailers to a client that could not be written to the wire.
func FuzzDeliver(f *testing.F) {
	f.Add(200, "Content-Type", "text/plain", "Grpc-Status", "0")
	f.Add(200, "Transfer-Encoding", "chunked", "Content-Length", "5")
	f.Add(304, "X y", "a", "X-Consumer-Id", "forged")
	f.Add(599, "A", "a\r\nB: c", "B", "\x00")
	f.Fuzz(func(t *testing.T, status int, name, value, trailerName, trailerValue string) {
		trip := newTrip(Options{})
		err := trip.deliver(response(status, http.Header{name: {value, value}}))
		if err != nil {
			return
		}
		checkFields(t, &trip.ex.Response.Header)
		if err := trailers(trip.ex, http.Header{trailerName: {trailerValue}}); err != io.EOF {
			var failure *client.Error
			if !errors.As(err, &failure) || failure.Kind != client.Malformed {
				t.Fatal(err)
			}
		}
		checkFields(t, &trip.ex.Response.Trailer)
		for name := range trip.ex.Response.Trailer.All() {
			if wire.ForbiddenTrailer(name) {
				t.Fatalf("trailer %q", name)
			}
		}
	})
}

func checkFields(t *testing.T, header *exchange.Header) {
	t.Helper()
	for name, value := range header.All() {
		if !exchange.ValidName(name) || !exchange.ValidValue(value) || wire.HopByHop(name) {
			t.Fatalf("%q: %q", name, value)
		}
	}
}
