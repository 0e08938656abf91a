package client

import (
	"strconv"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

// appendHead writes the request's head. Framing and connection fields come from here alone; length is that of
// the body, -1 for chunked.
func appendHead(w []byte, ex *exchange.Exchange, head *Head, length int64) []byte {
	w = append(w, method(ex, head)...)
	w = append(w, ' ')
	w = append(w, head.Target...)
	w = append(w, " HTTP/1.1\r\nHost: "...)
	w = append(w, head.Host...)
	w = append(w, '\r', '\n')
	for i := range ex.Request.Header.Len() {
		if f := ex.Request.Header.At(i); !wire.HopByHop(f.Name) {
			w = wire.AppendField(w, f.Name, f.Value)
		}
	}
	switch {
	case length < 0:
		w = append(w, "Transfer-Encoding: chunked\r\n"...)
	case length > 0 || wantsLength(method(ex, head)):
		w = append(w, "Content-Length: "...)
		w = strconv.AppendInt(w, length, 10)
		w = append(w, '\r', '\n')
	}
	if head.Upgrade && ex.Request.Upgrade != "" {
		w = append(w, "Connection: Upgrade\r\n"...)
		return append(wire.AppendField(w, "Upgrade", ex.Request.Upgrade), '\r', '\n')
	}
	return append(w, "Connection: keep-alive\r\n\r\n"...)
}

func method(ex *exchange.Exchange, head *Head) string {
	if head.Method != "" {
		return head.Method
	}
	return ex.Request.Method
}

// wantsLength names the methods for which an empty body is worth a Content-Length, RFC 9110 §8.6.
func wantsLength(method string) bool { return method == "POST" || method == "PUT" || method == "PATCH" }

func idempotent(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	return false
}

// sendable checks what the caller built: a blank or a line end here would make two requests of one.
func sendable(ex *exchange.Exchange, head *Head) bool {
	if !exchange.ValidName(method(ex, head)) || head.Target == "" || head.Host == "" {
		return false
	}
	return visible(head.Target) && visible(head.Host)
}

func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7F {
			return false
		}
	}
	return true
}

// Check says why the request cannot be sent with this head, as an [*Error] of kind BadRequest, or nil.
func (h *Head) Check(ex *exchange.Exchange) error {
	if sendable(ex, h) {
		return nil
	}
	return &Error{Kind: BadRequest, Err: errUnsendable, Idempotent: h.Idempotent(ex)}
}

// Idempotent says whether the request's method may be repeated (RFC 9110 §9.2.2).
func (h *Head) Idempotent(ex *exchange.Exchange) bool { return idempotent(method(ex, h)) }
