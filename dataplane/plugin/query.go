package plugin

import (
	"strings"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// Parameters visits the values of the query parameters of that name. Names are compared and values given decoded.
func Parameters(ex *exchange.Exchange, name string, visit func(value string)) {
	for rest := ex.Request.RawQuery; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		rawName, rawValue, _ := strings.Cut(pair, "=")
		if decode(ex, rawName) == name {
			visit(decode(ex, rawValue))
		}
	}
}

// RemoveParameters drops the query parameters of that name and leaves the others as they were written.
func RemoveParameters(ex *exchange.Exchange, name string) {
	request := &ex.Request
	kept := ex.Bytes(len(request.RawQuery))[:0]
	for rest := request.RawQuery; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		rawName, _, _ := strings.Cut(pair, "=")
		if decode(ex, rawName) == name {
			continue
		}
		if len(kept) > 0 {
			kept = append(kept, '&')
		}
		kept = append(kept, pair...)
	}
	if len(kept) < len(request.RawQuery) {
		request.RawQuery, request.HasQuery = exchange.View(kept), len(kept) > 0
	}
}

// decode undoes the encoding of application/x-www-form-urlencoded. What is not well-formed stays as it is.
func decode(ex *exchange.Exchange, text string) string {
	if strings.IndexByte(text, '%') < 0 && strings.IndexByte(text, '+') < 0 {
		return text
	}
	out := ex.Bytes(len(text))[:0]
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(text) && isHex(text[i+1]) && isHex(text[i+2]):
			c = unhex(text[i+1])<<4 | unhex(text[i+2])
			i += 2
		}
		out = append(out, c)
	}
	return exchange.View(out)
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	}
	return c - 'A' + 10
}
