package http1_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1"
	"github.com/keepgate/keepgate/dataplane/http1/http1test"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

// reading is one request as somebody read it, in one spelling.
type reading struct {
	method, host, path, query, body string
	fields                          string
}

// reader is a handler that notes what it was given.
type reader struct{ got []reading }

func (r *reader) Serve(ex *exchange.Exchange) {
	body, err := io.ReadAll(ex.Request.Body)
	if err != nil {
		ex.Answer(400, "", nil)
		ex.Response.Close = true
		return
	}
	var fields []string
	for name, value := range ex.Request.Header.All() {
		fields = append(fields, textproto.CanonicalMIMEHeaderKey(name)+": "+value)
	}
	slices.Sort(fields)
	q := &ex.Request
	r.got = append(r.got, reading{
		strings.Clone(q.Method), strings.Clone(q.Host), strings.Clone(q.Path), fmt.Sprint(q.HasQuery, q.RawQuery), string(body), strings.Clone(strings.Join(fields, "\n")),
	})
	ex.Answer(200, "", nil)
}

func (*reader) Finish(*exchange.Exchange) {}

// script is a client's connection that says what it has to say and listens to nothing.
type script struct {
	net.Conn
	rest  []byte
	piece int // bytes that come at once
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.rest[:min(s.piece, len(s.rest))])
	s.rest = s.rest[n:]
	return n, nil
}

func (*script) Write(p []byte) (int, error)      { return len(p), nil }
func (*script) Close() error                     { return nil }
func (*script) SetDeadline(time.Time) error      { return nil }
func (*script) SetReadDeadline(time.Time) error  { return nil }
func (*script) SetWriteDeadline(time.Time) error { return nil }
func (*script) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

func (*script) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

// ours reads raw with our engine, so many bytes at a time.
func ours(raw []byte, piece int) []reading {
	r := &reader{}
	http1.New(r, http1.Options{}).ServeConn(&script{rest: raw, piece: piece})
	return r.got
}

// theirs reads raw as Go's server does.
func theirs(raw []byte) []reading {
	var got []reading
	b := bufio.NewReader(bytes.NewReader(raw))
	for {
		if empty, _ := b.Peek(2); string(empty) == "\r\n" {
			_, _ = b.Discard(2) // RFC 9112 §2.2; Go does not forgive it
		}
		r, err := http.ReadRequest(b)
		if err != nil {
			return got
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return got
		}
		named := map[string]bool{}
		for _, list := range r.Header["Connection"] {
			for list != "" {
				var name string
				name, list = wire.CutToken(list)
				named[textproto.CanonicalMIMEHeaderKey(name)] = true
			}
		}
		var fields []string
		for name, values := range r.Header {
			if wire.HopByHop(name) || named[name] {
				continue
			}
			for _, value := range values {
				if name == "Cache-Control" && value == "no-cache" && len(values) == 1 && r.Header.Get("Pragma") == "no-cache" {
					continue // Go makes it up, and our reading shows it when it was there
				}
				fields = append(fields, name+": "+value)
			}
		}
		slices.Sort(fields)
		target := r.RequestURI
		if !strings.HasPrefix(target, "/") {
			if _, rest, ok := strings.Cut(target, "://"); ok {
				if at := strings.IndexAny(rest, "/?"); at >= 0 {
					target = rest[at:]
				} else {
					target = "/"
				}
				if target[0] == '?' {
					target = "/" + target
				}
			}
		}
		path, query, has := strings.Cut(target, "?")
		normal, err := exchange.Normalise(nil, path)
		if err != nil {
			return got
		}
		got = append(got, reading{r.Method, oneHost(r.Host), string(normal), fmt.Sprint(has, query), string(body), strings.Join(fields, "\n")})
	}
}

// oneHost spells a host as the gateway does.
func oneHost(host string) string {
	name, port := exchange.SplitHost(strings.ToLower(host))
	name = strings.TrimSuffix(name, ".")
	if port != "" {
		return name + ":" + port
	}
	return name
}

// compare holds what we read against what Go reads: the same requests, or fewer because one was refused.
func compare(t testing.TB, raw []byte) {
	we, they := ours(raw, 1<<20), theirs(raw)
	if byByte := ours(raw, 1); !slices.Equal(we, byByte) {
		t.Fatalf("%q\nat once we read\n%+v, byte by byte\n%+v", raw, we, byByte)
	}
	for i, one := range we {
		if i == len(they) {
			t.Fatalf("%q\nrequest %d was served as %+v, and is none to others", raw, i, one)
		}
		other := they[i]
		if strings.Contains(one.fields, "Pragma: no-cache") {
			one.fields, other.fields = strings.ReplaceAll(one.fields, "Cache-Control: no-cache\n", ""), strings.ReplaceAll(other.fields, "Cache-Control: no-cache\n", "")
		}
		if one != other {
			t.Fatalf("%q\nrequest %d: we read\n%+v, others\n%+v", raw, i, one, other)
		}
	}
}

// corpus is every raw request that we have written down.
func corpus(t testing.TB) [][]byte {
	var all [][]byte
	for _, file := range []string{"testdata/hostile.txt", "std/testdata/hostile.txt", "testdata/ambiguous.txt"} {
		for _, h := range http1test.ReadHostile(t, file) {
			all = append(all, []byte(h.Raw+"\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"), []byte(h.Raw))
		}
	}
	return all
}

// FuzzDifferential sends any bytes: what we serve is what another server would have read, or less.
func FuzzDifferential(f *testing.F) {
	for _, raw := range corpus(f) {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) { compare(t, raw) })
}
