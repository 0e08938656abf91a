package http2

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

var (
	errFields  = errors.New("the response has too many fields")
	errField   = errors.New("the response has a field that cannot be passed on")
	errStatus  = errors.New("the response has an impossible status")
	errTrailer = errors.New("the response has a trailer that cannot be passed on")
)

// request makes the standard library's request. Its strings are copies: the connection may look at them after the
// exchange has ended.
func (t *trip) request(ctx context.Context, head *client.Head) *http.Request {
	q := &t.ex.Request
	method := q.Method
	if head.Method != "" {
		method = head.Method
	}
	host, target := strings.Clone(head.Host), strings.Clone(head.Target)
	if strings.HasPrefix(target, "//") {
		target = "//" + host + target // else it would be read as an authority
	}
	r := &http.Request{
		Method: strings.Clone(method), URL: &url.URL{Scheme: t.conn.pool.scheme, Host: host, Opaque: target}, Host: host,
		Proto: "HTTP/2.0", ProtoMajor: 2, Header: make(http.Header, q.Header.Len()+2), ContentLength: q.ContentLength,
	}
	copyFields(r.Header, &q.Header)
	if _, ok := r.Header["User-Agent"]; !ok {
		r.Header["User-Agent"] = []string{""} // else the library names itself
	}
	if t.conn.pool.options.Trailers || q.WantsTrailers {
		r.Header["Te"] = []string{"trailers"}
	}
	if q.ContentLength != 0 {
		t.up = newUpload(q.Body, q.ContentLength)
		r.Body = t.up
	}
	if q.Trailer.Len() > 0 && q.ContentLength < 0 {
		r.Trailer = http.Header{}
		copyFields(r.Trailer, &q.Trailer)
	}
	return r.WithContext(ctx)
}

// copyFields copies into one piece of memory, not one for each field.
func copyFields(to http.Header, from *exchange.Header) {
	size := 0
	for i := range from.Len() {
		f := from.At(i)
		size += len(f.Name) + len(f.Value)
	}
	text := make([]byte, 0, size)
	copied := func(s string) string {
		text = append(text, s...)
		return exchange.View(text[len(text)-len(s):])
	}
	values := make([]string, 0, from.Len())
	for i := range from.Len() {
		f := from.At(i)
		if wire.HopByHop(f.Name) {
			continue
		}
		key := http.CanonicalHeaderKey(f.Name)
		if key == f.Name { // then it may be the exchange's own
			key = copied(key)
		}
		value := copied(f.Value)
		if before, again := to[key]; again {
			to[key] = append(before, value)
			continue
		}
		values = append(values, value)
		to[key] = values[len(values)-1 : len(values) : len(values)]
	}
}

// namesOf are the names of a header in order. The room saves an allocation where there are few.
func namesOf(header http.Header, room []string) []string {
	names := room[:0]
	for name := range header {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// deliver puts the response into the exchange.
func (t *trip) deliver(response *http.Response) error {
	ex, r := t.ex, &t.ex.Response
	if response.StatusCode < 200 || response.StatusCode > 599 {
		_ = response.Body.Close()
		return &client.Error{Kind: client.Malformed, Err: errStatus, Sent: true}
	}
	var room [24]string
	for _, name := range namesOf(response.Header, room[:]) {
		if wire.HopByHop(name) {
			continue
		}
		for _, value := range response.Header[name] {
			if r.Header.Len() == maxFields || !exchange.ValidName(name) || !exchange.ValidValue(value) {
				_ = response.Body.Close()
				return &client.Error{Kind: client.Malformed, Err: bad(r.Header.Len()), Sent: true}
			}
			r.Header.AddParsed(name, value)
		}
	}
	if t.up != nil {
		t.up.forget()
	}
	ex.MarkAt(exchange.UpstreamSent, t.sent())
	ex.Mark(exchange.UpstreamHead)
	r.Status, r.Origin, r.ContentLength = response.StatusCode, exchange.Upstream, response.ContentLength
	stream := &body{t: t, response: response}
	r.Body, r.Stream = nil, stream
	if response.ContentLength == 0 && response.Header["Content-Length"] == nil && response.Request.Method != "HEAD" {
		// The head was the end of the stream, else its length would not be known. Nothing of the connection is needed any
		// more. A gRPC status without a message comes so, and has to stay in one piece.
		r.Stream, r.Body = nil, []byte{}
		_ = stream.Close()
	}
	return nil
}

func bad(fields int) error {
	if fields == maxFields {
		return errFields
	}
	return errField
}

// sent is when the request had been written, as far as is known.
func (t *trip) sent() int64 {
	if t.up == nil {
		return t.began
	}
	return t.up.moved.Load()
}

// trailers takes the trailers over, and is io.EOF when they can be passed on.
func trailers(ex *exchange.Exchange, from http.Header) error {
	to := &ex.Response.Trailer
	var room [8]string
	for _, name := range namesOf(from, room[:]) {
		if wire.HopByHop(name) || wire.ForbiddenTrailer(name) {
			continue
		}
		for _, value := range from[name] {
			if to.Len() == maxFields || !exchange.ValidName(name) || !exchange.ValidValue(value) {
				return &client.Error{Kind: client.Malformed, Err: errTrailer, Sent: true}
			}
			to.AddParsed(name, value)
		}
	}
	return io.EOF
}
