package http2server_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/http1test"
	"github.com/keepgate/keepgate/dataplane/http1/std"
	"github.com/keepgate/keepgate/dataplane/http2server"
)

// readings is a handler that notes what it was given.
type readings chan string

func (c readings) Serve(ex *exchange.Exchange) {
	r := &ex.Request
	body, err := io.ReadAll(r.Body)
	if err != nil {
		ex.Answer(400, "", nil)
		return
	}
	var fields []string
	for name, value := range r.Header.All() {
		fields = append(fields, textproto.CanonicalMIMEHeaderKey(name)+": "+value)
	}
	slices.Sort(fields)
	for name, value := range r.Trailer.All() {
		fields = append(fields, unannounced+textproto.CanonicalMIMEHeaderKey(name)+": "+value)
	}
	c <- strings.Clone(fmt.Sprint(r.Method, " ", r.Scheme, " ", r.Host, " ", r.Target, " ", r.Path, " ", r.HasQuery, r.RawQuery, " ", r.ContentLength, " ",
		r.WantsTrailers, " ", len(body), "\n", strings.Join(append(fields, ""), "\n")))
	ex.Answer(200, "", nil)
}

func (readings) Finish(*exchange.Exchange) {}

// unannounced begins the lines of trailers: the standard library has only those that the header announced.
const unannounced = "trailer "

func withoutTrailers(reading string) string {
	before, _, _ := strings.Cut(reading, "\n"+unannounced)
	return strings.TrimSuffix(before, "\n") + "\n"
}

// said is one request to be made.
type said struct {
	fields   []string
	body     string
	trailers []string
}

// heard makes the request and returns what the handler was given, or how it was refused. The connection is used for one only.
func heard(t *testing.T, addr string, seen readings, s said) (reading, answer string) {
	r := greeted(t, addr)
	defer r.nc.Close()
	r.open(1, s.body == "" && s.trailers == nil, s.fields...)
	if s.body != "" {
		_ = r.WriteData(1, s.trailers == nil, []byte(s.body))
	}
	if s.trailers != nil {
		r.open(1, true, s.trailers...)
	}
	for answer = r.next(); answer == "head 1 100"; answer = r.next() {
	}
	select {
	case reading = <-seen:
	default:
	}
	return reading, strings.TrimSuffix(answer, " end")
}

// stricter are the requests that we refuse and the standard library does not, by what of them is to blame.
func stricter(s said) bool {
	pairs := func(list []string) (ok bool) {
		for i := 0; i < len(list); i += 2 {
			name, value := list[i], list[i+1]
			switch {
			case value != strings.Trim(value, " \t"), name == "keep-alive", name == "content-length", name == "te":
				ok = true // RFC 9113 §8.2.1 and §8.2.2; lengths that are none, or not the body's
			case name == ":path" && !strings.HasPrefix(value, "/"), name == ":scheme", name == "host", name == "expect":
				ok = true
			}
		}
		return ok
	}
	return pairs(s.fields) || pairs(s.trailers)
}

// TestDifferential holds what our server makes of requests to what the standard library's makes of them: what reaches the handler is the
// same, or we refuse it.
func TestDifferential(t *testing.T) {
	t.Parallel()
	ours, theirs := make(readings, 1), make(readings, 1)
	native := start(t, ours, http2server.Options{})
	standard := http1test.Start(t, std.New(theirs, std.Options{}))
	pseudo := [][]string{
		{":method", "GET"},
		{":method", "POST"},
		{":method", "G T"},
		{":method", "CONNECT"},
		{":method", ""},
		{":path", "/"},
		{":path", "/a?b"},
		{":path", "//a/./b/%2e%2e/c"},
		{":path", "/%zz"},
		{":path", "*"},
		{":path", "http://a.test/x"},
		{":path", "/a b"},
		{":path", "/a#b"},
		{":path", ""},
		{":path", "a"},
		{":path", "/\x7f"},
		{":path", "/é"},
		{":authority", "A.test"},
		{":authority", "a.test:80"},
		{":authority", "a.test."},
		{":authority", "a@b"},
		{":authority", ""},
		{":authority", "[::1]:8"},
		{":authority", "a b"},
		{":scheme", "https"},
		{":scheme", "ftp"},
		{":status", "200"},
		{":protocol", "websocket"},
	}
	fields := [][]string{
		{"x", "y"},
		{"X", "y"},
		{"x", "\x01"},
		{"x", "a\rb"},
		{"x", " y"},
		{"x", "é"},
		{"x y", "z"},
		{"", "z"},
		{"x:", "z"},
		{"x", ""},
		{"host", "a.test"},
		{"host", "b.test"},
		{"connection", "close"},
		{"keep-alive", "1"},
		{"proxy-connection", "x"},
		{"transfer-encoding", "chunked"},
		{"upgrade", "h2c"},
		{"te", "trailers"},
		{"te", "gzip"},
		{"te", "trailers, gzip"},
		{"content-length", "4"},
		{"content-length", "0"},
		{"content-length", "5"},
		{"content-length", "+4"},
		{"content-length", "4, 4"},
		{"content-length", "99999999999999999999"},
		{"cookie", "a=1"},
		{"cookie", "b=2"},
		{"expect", "100-continue"},
		{"expect", "more"},
		{"trailer", "x-sum"},
		{"http2-settings", "AAA"},
		{"x_under", "score"},
		{":path", "/late"},
	}
	trailers := [][]string{{"x-sum", "1"}, {"content-length", "4"}, {"x-consumer-id", "root"}, {"X", "y"}, {":path", "/"}, {"x", "a\nb"}, {"x", " y"}}
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	pick := func(from [][]string) []string { return from[random.IntN(len(from))] }
	reached := 0
	for i := range 500 {
		s := said{fields: []string{":method", "POST", ":scheme", "http", ":authority", "a.test", ":path", "/r"}}
		for range random.IntN(3) { // instead of what is there, or beside it
			p := pick(pseudo)
			if at := slices.Index(s.fields, p[0]); at >= 0 && random.IntN(8) > 0 {
				s.fields[at+1] = p[1]
			} else {
				s.fields = append(s.fields, p...)
			}
		}
		if random.IntN(12) == 0 {
			at := 2 * random.IntN(4)
			s.fields = slices.Delete(s.fields, at, at+2)
		}
		for range random.IntN(4) {
			s.fields = append(s.fields, pick(fields)...)
		}
		if random.IntN(2) == 0 {
			s.body = "body"
		}
		if random.IntN(5) == 0 {
			s.trailers = slices.Clone(pick(trailers))
		}
		if at := slices.Index(s.fields, "content-length"); at >= 0 && s.fields[at+1] == "0" {
			s.body, s.trailers = "", nil // a request that says so is served before what follows can be looked at
		}
		reading, answer := heard(t, native, ours, s)
		want, theirAnswer := heard(t, standard, theirs, s)
		switch {
		case reading != "" && want == "":
			t.Errorf("seed %d, %d: %q is served, and refused by the standard server: %s, %s", seed, i, s, answer, theirAnswer)
		case reading == "" && want != "" && !stricter(s):
			t.Errorf("seed %d, %d: %q is refused: %s", seed, i, s, answer)
		case reading != want && (strings.Contains(want, "\n"+unannounced) || withoutTrailers(reading) != want) && reading != "":
			t.Errorf("seed %d, %d: %q: %s", seed, i, s, cmp.Diff(want, reading))
		}
		if reading != "" {
			reached++
		}
	}
	if reached < 50 {
		t.Errorf("%d of the requests were served: too few to say anything", reached)
	}
}
