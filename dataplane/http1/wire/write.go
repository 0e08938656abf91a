package wire

import (
	"net/http"
	"strconv"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// AppendField writes one header line.
func AppendField(w []byte, name, value string) []byte {
	w = append(w, name...)
	w = append(w, ':', ' ')
	w = append(w, value...)
	return append(w, '\r', '\n')
}

// AppendStatusLine writes "HTTP/1.1 status reason".
func AppendStatusLine(w []byte, status int) []byte {
	if status == 200 {
		return append(w, "HTTP/1.1 200 OK\r\n"...)
	}
	w = append(w, "HTTP/1.1 "...)
	w = strconv.AppendInt(w, int64(status), 10)
	w = append(w, ' ')
	w = append(w, http.StatusText(status)...)
	return append(w, '\r', '\n')
}

// HopByHop says whether a field of that name is the engine's business alone: it ends at this hop or frames the message.
// Such fields are never copied from a list.
func HopByHop(name string) bool {
	switch len(name) {
	case 2:
		return exchange.EqualFold(name, "TE")
	case 4:
		return exchange.EqualFold(name, "Host")
	case 6:
		return exchange.EqualFold(name, "Expect")
	case 7:
		return exchange.EqualFold(name, "Upgrade") || exchange.EqualFold(name, "Trailer")
	case 10:
		return exchange.EqualFold(name, "Connection") || exchange.EqualFold(name, "Keep-Alive")
	case 14:
		return exchange.EqualFold(name, "Content-Length") || exchange.EqualFold(name, "HTTP2-Settings")
	case 16:
		return exchange.EqualFold(name, "Proxy-Connection")
	case 17:
		return exchange.EqualFold(name, "Transfer-Encoding")
	}
	return false
}
