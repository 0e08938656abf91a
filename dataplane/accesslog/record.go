package accesslog

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/redact"
)

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
		b = redact.AppendQuoted(b, user, redact.Common)
	} else {
		b = append(b, '-')
	}
	b = append(append(append(b, " ["...), r.at.common...), `] "`...)
	b = redact.AppendQuoted(b, request.Method, redact.Common)
	b = append(b, ' ')
	b = redact.AppendURL(b, request.Target, r.secret, redact.Common)
	b = append(b, " HTTP/"...)
	b = append(b, '0'+request.Major, '.', '0'+request.Minor)
	b = append(b, `" `...)
	b = strconv.AppendInt(b, r.status(), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, r.ex.Sent.BodyBytes, 10)
	for _, name := range [...]string{"Referer", "User-Agent"} {
		b = append(b, ` "`...)
		if value := r.shown(name); value != "" {
			b = redact.AppendURL(b, value, r.secret, redact.Common)
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
	b = redact.AppendURL(b, request.Target, r.secret, redact.JSON)
	b = append(append(b, `","version":"`...), '0'+request.Major, '.', '0'+request.Minor)
	b = appendNumber(b, `","status":`, r.status())
	if status := grpcStatus(&ex.Response); status != "" {
		b = append(appendText(b, `,"grpc_status":"`, status), '"')
	}
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
	if agent := r.shown("User-Agent"); agent != "" {
		b = append(appendText(b, `,"user_agent":"`, agent), '"')
	}
	return append(b, "}\n"...)
}

// shown is a header of the request, unless a plugin writes a secret there.
func (r *record) shown(name string) string {
	value := r.ex.Request.Header.Get(name)
	if value != "" && redact.Header(name, r.secret) {
		return redact.Text
	}
	return value
}

// grpcStatus is how a gRPC call ended, "" when it was none: its HTTP status is always 200.
func grpcStatus(r *exchange.Response) string {
	if said := r.Trailer.Get("grpc-status"); said != "" {
		return said
	}
	return r.Header.Get("grpc-status")
}

func sourceOf(ex *exchange.Exchange) string {
	if ex.Response.Origin == exchange.Upstream {
		return "upstream"
	}
	return "gateway"
}

func appendText(b []byte, before, text string) []byte {
	return redact.AppendQuoted(append(b, before...), text, redact.JSON)
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
