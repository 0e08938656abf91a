// Package redact writes what clients sent into logs: so that it cannot end a quoted text or a line, and without secrets.
//
// What a plugin of the table takes keys from is secret, and so is what by its plain name holds a key, whether some plugin
// takes it or not. It does not look into bodies, which logs do not show.
package redact

import (
	"slices"
	"strconv"
	"strings"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// Text stands where a secret was.
const Text = "REDACTED"

// AppendURL writes a URL or request target with the values of secret parameters replaced. Any other text stays as it is.
func AppendURL(b []byte, url string, secret []string, escape Escape) []byte {
	path, query, has := strings.Cut(url, "?")
	b = AppendQuoted(b, path, escape)
	if has {
		b = append(b, '?')
		b = appendQuery(b, query, secret, escape)
	}
	return b
}

func appendQuery(b []byte, query string, secret []string, escape Escape) []byte {
	for first := true; first || query != ""; first = false {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		if !first {
			b = append(b, '&')
		}
		name, _, has := strings.Cut(pair, "=")
		if has && Parameter(name, secret) {
			b = AppendQuoted(b, name, escape)
			b = append(append(b, '='), Text...)
			continue
		}
		b = AppendQuoted(b, pair, escape)
	}
	return b
}

// Parameter says whether a query parameter, named as it was written, is a secret. secret are the names that plugins take keys from.
func Parameter(raw string, secret []string) bool {
	for _, name := range secret {
		if equalDecoded(raw, name) {
			return true
		}
	}
	for _, name := range [...]string{"apikey", "api_key", "api-key", "key", "access_token", "token", "password", "secret", "client_secret", "signature", "jwt"} {
		if equalDecoded(raw, name) {
			return true
		}
	}
	return false
}

// Header says whether a header is one that requests prove themselves by, or a response hands such out.
func Header(name string, secret []string) bool {
	for _, known := range [...]string{
		"Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "Set-Cookie2", "X-Api-Key", "ApiKey", "X-Auth-Token", "X-Access-Token",
		"X-Csrf-Token", "X-Amz-Security-Token",
	} {
		if exchange.EqualFold(name, known) {
			return true
		}
	}
	return slices.ContainsFunc(secret, func(known string) bool { return exchange.EqualFold(name, known) })
}

// equalDecoded compares a percent-encoded name with a plain one, without regard to ASCII case.
func equalDecoded(raw, plain string) bool {
	if len(raw) < len(plain) { // decoding never lengthens
		return false
	}
	if len(raw) == len(plain) && raw != "" && lower(raw[0]) != lower(plain[0]) && raw[0] != '+' && raw[0] != '%' {
		return false
	}
	n := 0
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c == '%' && i+2 < len(raw) {
			if v, err := strconv.ParseUint(raw[i+1:i+3], 16, 8); err == nil {
				c = byte(v)
				i += 2
			}
		} else if c == '+' {
			c = ' '
		}
		if n >= len(plain) || lower(c) != lower(plain[n]) {
			return false
		}
		n++
	}
	return n == len(plain)
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
