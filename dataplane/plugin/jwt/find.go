package jwt

import (
	"strings"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
)

// found is the token of a request. The same token in two places is one.
type found struct {
	token string
	count int
}

func (f *found) add(token string) {
	if token == "" || f.count > 0 && f.token == token {
		return
	}
	f.token = token
	f.count++
}

// find looks into the query, the cookies and the headers that the configuration names.
func (i *instance) find(ex *exchange.Exchange) found {
	var f found
	for _, name := range i.parameters {
		plugin.Parameters(ex, name, f.add)
	}
	header := &ex.Request.Header
	for n := range header.Len() {
		field := header.At(n)
		if len(i.cookies) > 0 && exchange.EqualFold(field.Name, "Cookie") {
			i.fromCookies(field.Value, &f)
		}
		for _, name := range i.headers {
			if exchange.EqualFold(field.Name, name) {
				f.add(bearer(field.Value))
				break
			}
		}
	}
	return f
}

// fromCookies reads the cookies of a header, RFC 6265 §4.2.
func (i *instance) fromCookies(header string, f *found) {
	for rest := header; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, ";")
		name, value, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
		for _, wanted := range i.cookies {
			if name == wanted {
				f.add(strings.Trim(value, `"`))
				break
			}
		}
	}
}

// bearer returns the token of credentials of the scheme Bearer, RFC 6750 §2.1, or "".
func bearer(value string) string {
	const scheme = "bearer"
	value = strings.Trim(value, " \t")
	if len(value) <= len(scheme) || !exchange.EqualFold(value[:len(scheme)], scheme) || value[len(scheme)] != ' ' && value[len(scheme)] != '\t' {
		return ""
	}
	return strings.TrimLeft(value[len(scheme):], " \t")
}
