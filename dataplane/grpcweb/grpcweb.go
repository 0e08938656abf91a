// Package grpcweb translates gRPC-Web, which browsers can speak, to gRPC and back.
//
// gRPC-Web (grpc/grpc, doc/PROTOCOL-WEB.md) differs in three things: its content types, trailers that are the last
// frame of the body, since browsers show none, and a form in base64 for clients that take only text. Messages are not touched
// and not looked at. Who may ask from where is the cors plugin's business.
package grpcweb

import (
	"encoding/binary"
	"io"
	"strings"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// Form is how gRPC-Web is written.
type Form uint8

const (
	None   Form = iota // it is none
	Binary             // application/grpc-web
	Text               // application/grpc-web-text: base64
)

const (
	plain = "application/grpc"
	web   = "application/grpc-web"
	text  = "application/grpc-web-text"
)

func (f Form) prefix() string {
	if f == Text {
		return text
	}
	return web
}

// FormOf reads a content type: one of ours, alone or with a format ("+proto") or parameters behind it.
func FormOf(contentType string) Form {
	form, _ := cut(contentType)
	return form
}

// cut splits a content type into its form and what follows.
func cut(contentType string) (form Form, rest string) {
	for _, f := range [...]Form{Text, Binary} {
		if rest, ok := cutType(contentType, f.prefix()); ok {
			return f, rest
		}
	}
	return None, ""
}

// cutType cuts a media type off, which must end there or in a format or parameter.
func cutType(contentType, media string) (rest string, ok bool) {
	if len(contentType) < len(media) || !exchange.EqualFold(contentType[:len(media)], media) {
		return "", false
	}
	rest = contentType[len(media):]
	return rest, rest == "" || strings.IndexByte("+; \t", rest[0]) >= 0
}

// IsGRPC says whether a content type is that of gRPC itself.
func IsGRPC(contentType string) bool {
	_, ok := cutType(contentType, plain)
	return ok
}

// Request turns ex's request into one of gRPC. It returns the form of the response that the client wants, None when the request was
// no gRPC-Web and stays as it is.
func Request(ex *exchange.Exchange) Form {
	r := &ex.Request
	form, rest := cut(r.Header.Get("Content-Type"))
	if form == None {
		return None
	}
	r.Header.Set("Content-Type", ex.Join(plain, rest))
	r.WantsTrailers = true
	if form == Text && r.HasBody() {
		r.Body, r.ContentLength = &decoder{src: r.Body}, -1
	}
	return form.orAccepted(r)
}

// Wanted is the form of the response to a request, None when the request is no gRPC-Web.
func Wanted(ex *exchange.Exchange) Form {
	form := FormOf(ex.Request.Header.Get("Content-Type"))
	if form == None {
		return None
	}
	return form.orAccepted(&ex.Request)
}

// orAccepted is the form that a request accepts, f when it does not say.
func (f Form) orAccepted(r *exchange.Request) Form {
	if wanted := FormOf(r.Header.Get("Accept")); wanted != None {
		return wanted
	}
	return f
}

// Response turns an upstream's response into one of gRPC-Web. What is no gRPC stays as it is.
func Response(ex *exchange.Exchange, form Form) {
	r := &ex.Response
	rest, ok := cutType(r.Header.Get("Content-Type"), plain)
	if !ok {
		return
	}
	r.Header.Set("Content-Type", ex.Join(form.prefix(), rest))
	if r.Header.Has(statusField) { // "Trailers-Only": there are no messages
		answer(ex, form)
		return
	}
	if r.Stream == nil {
		r.Stream = io.NopCloser(strings.NewReader(exchange.View(r.Body)))
		r.Body = nil
	}
	r.Stream, r.ContentLength = &encoder{src: r.Stream, ex: ex, text: form == Text}, -1
}

// Answer makes the gateway's own response of what grpc-status and grpc-message say in its header.
func Answer(ex *exchange.Exchange, form Form) {
	ex.Response.Header.Set("Content-Type", ex.Join(form.prefix(), "+proto"))
	answer(ex, form)
}

const statusField = "grpc-status"

// answer moves what the header says of the end of the call into the body.
func answer(ex *exchange.Exchange, form Form) {
	r := &ex.Response
	if r.Stream != nil {
		_ = r.Stream.Close()
		r.Stream = nil
	}
	r.Trailer.Reset()
	r.Header.DelFunc(func(name, value string) bool {
		mine := exchange.EqualFold(name, statusField) || exchange.EqualFold(name, "grpc-message") || exchange.EqualFold(name, "grpc-status-details-bin")
		if mine {
			r.Trailer.AddParsed(name, value)
		}
		return mine
	})
	r.Body = appendTrailers(nil, &r.Trailer)
	if form == Text {
		r.Body = encode(nil, r.Body)
	}
	r.ContentLength = int64(len(r.Body))
}

// trailerFlag marks the frame that holds trailers, PROTOCOL-WEB "Message framing".
const trailerFlag = 0x80

// appendTrailers writes trailers as the last frame and empties them. An upstream that ended without a word gets UNKNOWN.
func appendTrailers(b []byte, trailer *exchange.Header) []byte {
	start := len(b)
	b = append(b, trailerFlag, 0, 0, 0, 0)
	if !trailer.Has(statusField) {
		b = append(b, "grpc-status:2\r\n"...)
	}
	for i := range trailer.Len() {
		f := trailer.At(i)
		at := len(b)
		b = append(b, f.Name...)
		exchange.Lower(b[at:])
		b = append(append(append(b, ':'), f.Value...), '\r', '\n')
	}
	trailer.Reset()
	binary.BigEndian.PutUint32(b[start+1:], uint32(len(b)-start-5))
	return b
}
