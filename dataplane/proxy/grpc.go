package proxy

import (
	"strconv"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/grpcweb"
	"github.com/keepgate/keepgate/dataplane/plugin"
	"github.com/keepgate/keepgate/dataplane/table"
)

// What a gRPC route answers to requests that are not for it, in Kong's words.
var (
	errUseHTTP2 = &plugin.Refusal{Status: 426, Message: "Please use HTTP2 protocol"}
	errNotGRPC  = &plugin.Refusal{Status: 415, Message: "Non-gRPC request matched gRPC route"}
)

// Codes of gRPC, grpc/grpc doc/statuscodes.md.
const (
	codeCancelled         = 1
	codeUnknown           = 2
	codeDeadlineExceeded  = 4
	codePermissionDenied  = 7
	codeResourceExhausted = 8
	codeUnimplemented     = 12
	codeInternal          = 13
	codeUnavailable       = 14
	codeUnauthenticated   = 16
)

// codeOf says in gRPC what the gateway would say with an HTTP status: as clients translate them (grpc/grpc
// doc/http-grpc-status-mapping.md), and more exactly where they know less.
func codeOf(status int) int64 {
	switch status {
	case 400, 500:
		return codeInternal
	case 401:
		return codeUnauthenticated
	case 403:
		return codePermissionDenied
	case 404, 405, 501:
		return codeUnimplemented
	case 408, 504:
		return codeDeadlineExceeded
	case 413, 431:
		return codeResourceExhausted
	case 421, 429, 502, 503:
		return codeUnavailable
	case 499:
		return codeCancelled
	}
	return codeUnknown
}

// admitGRPC says whether a request may use a gRPC route, and answers it where it may not. gRPC-Web may, over any version of HTTP,
// when it will be translated; so may what a browser asks before it.
func (p *Proxy) admitGRPC(ex *exchange.Exchange, s *state, route *table.Route) bool {
	contentType := ex.Request.Header.Get("Content-Type")
	web := route.Service != nil && route.Service.GRPC && grpcweb.FormOf(contentType) != grpcweb.None
	switch {
	case web:
	case preflight(&ex.Request):
		return true
	case !grpcweb.IsGRPC(contentType):
		plugin.Refuse(ex, errNotGRPC)
		return false
	case ex.Request.Major < 2:
		plugin.Refuse(ex, errUseHTTP2)
		ex.Response.Upgrade = "HTTP/2"
		return false
	}
	if route.SecureOnly && s.scheme != "https" {
		ex.Answer(200, "", nil)
		sayGRPC(ex, codeCancelled, "gRPC request matched gRPCs route")
		return false
	}
	return true
}

// preflight says whether a browser asks what it may send, for the cors plugin to answer.
func preflight(r *exchange.Request) bool {
	return r.Method == "OPTIONS" && r.Header.Has("Origin") && r.Header.Has("Access-Control-Request-Method")
}

// forwardGRPC forwards a call, or whatever else comes for a gRPC service, as it streams.
func (p *Proxy) forwardGRPC(ex *exchange.Exchange, s *state, route *table.Route) {
	if route.Service.GRPC {
		s.web = grpcweb.Request(ex)
	}
	contentType := ex.Request.Header.Get("Content-Type")
	if !grpcweb.IsGRPC(contentType) && route.GRPC {
		plugin.Refuse(ex, errNotGRPC) // a preflight that no plugin answered
		return
	}
	p.heed(ex, s)
	p.forward(ex, s, route)
	if s.patience != nil && s.patience.over() && ex.Response.Origin != exchange.Upstream {
		plugin.Refuse(ex, errTimeout)
		ex.Response.Close = false
	}
	if ex.Response.Origin != exchange.Upstream {
		return
	}
	if s.patience != nil && ex.Response.Stream != nil {
		ex.Response.Stream = &timed{ReadCloser: ex.Response.Stream, ex: ex, until: s.patience}
	}
	if s.web != grpcweb.None {
		grpcweb.Response(ex, s.web)
	}
}

// speakGRPC words what the gateway answers to a gRPC client as the end of a call: such clients look at nothing else.
func (p *Proxy) speakGRPC(ex *exchange.Exchange, s *state) {
	r := &ex.Response
	if ex.Request.Method != "POST" {
		return
	}
	form := s.web // of a call that was translated already, whose header says so no more
	if form == grpcweb.None {
		form = grpcweb.Wanted(ex)
	}
	if form == grpcweb.None && (ex.Request.Major < 2 || !grpcweb.IsGRPC(ex.Request.Header.Get("Content-Type"))) {
		return
	}
	if !r.Header.Has("grpc-status") {
		message := ""
		if refusal := plugin.RefusalOf(ex); refusal != nil {
			message = refusal.Message
		}
		sayGRPC(ex, codeOf(r.Status), message)
	}
	if form != grpcweb.None {
		grpcweb.Answer(ex, form)
	}
}

// sayGRPC makes the response the end of a call, without any message before it ("Trailers-Only").
func sayGRPC(ex *exchange.Exchange, code int64, message string) {
	r := &ex.Response
	if r.Stream != nil {
		_ = r.Stream.Close()
		r.Stream = nil
	}
	r.Status, r.Body, r.ContentLength, r.Upgrade = 200, []byte{}, 0, ""
	r.Header.Set("Content-Type", "application/grpc")
	r.Header.Set("grpc-status", numberText(ex, code))
	if message != "" {
		r.Header.Set("grpc-message", percentEncoded(ex, message))
	}
}

// percentEncoded writes a message as grpc-message wants it: visible ASCII and blanks but for "%", grpc/grpc doc/PROTOCOL-HTTP2.md.
func percentEncoded(ex *exchange.Exchange, message string) string {
	b := ex.Bytes(3 * len(message))[:0]
	for i := range len(message) {
		if c := message[i]; c >= ' ' && c < 0x7F && c != '%' {
			b = append(b, c)
			continue
		}
		b = append(b, '%')
		if message[i] < 16 {
			b = append(b, '0')
		}
		b = strconv.AppendUint(b, uint64(message[i]), 16)
	}
	return exchange.View(b)
}
