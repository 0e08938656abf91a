package accesslog

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

const redacted = "REDACTED"

// gone is the status shown for a client that left before there was an answer, as nginx shows it.
const gone = 499

// Named tells what a matched route or service is called; those of dataplane/table do.
type Named interface{ Identity() (id, name string) }

// record is one finished exchange and how it is shown.
type record struct {
	ex       *exchange.Exchange
	secret   []string
	upstream string
	at       *second
}

func (r *record) status() int64 {
	if r.ex.Response.Status == 0 {
		return gone
	}
	return int64(r.ex.Response.Status)
}

// appendCommon writes the line that Kong writes:
//
//	client - user [time] "method target version" status bytes "referer" "user agent" request_id: "id"
func (r *record) appendCommon(b []byte) []byte {
	request := &r.ex.Request
	b = appendAddr(b, request.ClientAddr)
	b = append(b, " - "...)
	if user := r.ex.Consumer.Username; user != "" {
		b = appendQuoted(b, user, commonEscape)
	} else {
		b = append(b, '-')
	}
	b = append(append(append(b, " ["...), r.at.common...), `] "`...)
	b = appendQuoted(b, request.Method, commonEscape)
	b = append(b, ' ')
	b = r.appendTarget(b, commonEscape)
	b = append(b, " HTTP/"...)
	b = append(b, '0'+request.Major, '.', '0'+request.Minor)
	b = append(b, `" `...)
	b = strconv.AppendInt(b, r.status(), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, r.ex.Sent.BodyBytes, 10)
	for _, name := range [...]string{"Referer", "User-Agent"} {
		b = append(b, ` "`...)
		if value := request.Header.Get(name); value != "" {
			b = r.appendReferer(b, value, commonEscape)
		} else {
			b = append(b, '-')
		}
		b = append(b, '"')
	}
	b = append(append(b, ` request_id: "`...), r.ex.ID()...)
	return append(b, "\"\n"...)
}

// appendJSON writes one object. Times are in milliseconds, with fractions.
func (r *record) appendJSON(b []byte) []byte {
	ex, request := r.ex, &r.ex.Request
	b = append(append(append(b, `{"time":"`...), r.at.json...), `","client_ip":"`...)
	b = appendAddr(b, request.ClientAddr)
	b = appendText(b, `","request_id":"`, ex.ID())
	b = appendText(b, `","method":"`, request.Method)
	b = appendText(b, `","scheme":"`, request.Scheme)
	b = appendText(b, `","host":"`, request.Host)
	b = append(b, `","target":"`...)
	b = r.appendTarget(b, jsonEscape)
	b = append(append(b, `","version":"`...), '0'+request.Major, '.', '0'+request.Minor)
	b = appendNumber(b, `","status":`, r.status())
	b = appendNumber(b, `,"request_size":`, ex.Sent.RequestBytes+ex.Sent.ReceivedBytes)
	b = appendNumber(b, `,"response_size":`, ex.Sent.HeadBytes+ex.Sent.BodyBytes)
	b = appendTime(b, `,"latency":`, ex.Since(exchange.Done))
	b = appendTime(b, `,"upstream_latency":`, ex.Between(exchange.UpstreamStart, exchange.UpstreamHead))
	b = appendText(b, `,"source":"`, sourceOf(ex))
	b = append(b, '"')
	if r.upstream != "" {
		b = append(appendText(b, `,"upstream":"`, r.upstream), '"')
	}
	b = appendNamed(b, `,"route":`, ex.Route)
	b = appendNamed(b, `,"service":`, ex.Service)
	if c := &ex.Consumer; c.ID != "" {
		b = appendText(b, `,"consumer":{"id":"`, c.ID)
		b = append(appendText(b, `","username":"`, c.Username), `"}`...)
		if c.CredentialID != "" {
			b = append(appendText(b, `,"credential":{"id":"`, c.CredentialID), `"}`...)
		}
	}
	if agent := request.Header.Get("User-Agent"); agent != "" {
		b = append(appendText(b, `,"user_agent":"`, agent), '"')
	}
	return append(b, "}\n"...)
}

func sourceOf(ex *exchange.Exchange) string {
	if ex.Response.Origin == exchange.Upstream {
		return "upstream"
	}
	return "gateway"
}

func appendText(b []byte, before, text string) []byte {
	return appendQuoted(append(b, before...), text, jsonEscape)
}

func appendNumber(b []byte, before string, n int64) []byte {
	return strconv.AppendInt(append(b, before...), n, 10)
}

func appendTime(b []byte, before string, d time.Duration) []byte {
	return strconv.AppendFloat(append(b, before...), float64(max(0, d).Microseconds())/1000, 'f', 3, 64)
}

func appendNamed(b []byte, before string, thing any) []byte {
	named, ok := thing.(Named)
	if !ok {
		return b
	}
	id, name := named.Identity()
	b = append(b, before...)
	b = appendText(b, `{"id":"`, id)
	b = appendText(b, `","name":"`, name)
	return append(b, `"}`...)
}

func appendAddr(b []byte, addr netip.Addr) []byte {
	if !addr.IsValid() {
		return append(b, '-')
	}
	return addr.AppendTo(b)
}

// appendTarget writes the request's target, with the values of secret parameters replaced.
func (r *record) appendTarget(b []byte, escape escaper) []byte {
	path, query, has := strings.Cut(r.ex.Request.Target, "?")
	b = appendQuoted(b, path, escape)
	if has {
		b = append(b, '?')
		b = r.appendQuery(b, query, escape)
	}
	return b
}

// appendReferer writes a header's value that may be a URL of ours, redacted in the same way.
func (r *record) appendReferer(b []byte, value string, escape escaper) []byte {
	before, query, has := strings.Cut(value, "?")
	b = appendQuoted(b, before, escape)
	if has {
		b = append(b, '?')
		b = r.appendQuery(b, query, escape)
	}
	return b
}

func (r *record) appendQuery(b []byte, query string, escape escaper) []byte {
	for first := true; first || query != ""; first = false {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		if !first {
			b = append(b, '&')
		}
		name, _, has := strings.Cut(pair, "=")
		if has && r.isSecret(name) {
			b = appendQuoted(b, name, escape)
			b = append(append(b, '='), redacted...)
			continue
		}
		b = appendQuoted(b, pair, escape)
	}
	return b
}

// isSecret compares a parameter's name, as it was written, with those that hold secrets. Parameters whose
// plain names say that they are secrets are never shown, whether a plugin takes them or not.
func (r *record) isSecret(raw string) bool {
	for _, name := range r.secret {
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

// equalDecoded compares a percent-encoded name with a plain one, without regard to ASCII case.
func equalDecoded(raw, plain string) bool {
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
