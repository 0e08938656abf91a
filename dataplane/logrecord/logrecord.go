// Package logrecord writes one finished exchange as the JSON object that Kong's log plugins write.
//
// The record is appended by hand, so that it costs no allocation, and is valid JSON whatever bytes a client or an upstream sent:
// what is no UTF-8 shows as U+FFFD. It holds no secret: the values of headers that requests prove themselves by and of
// query parameters that hold keys are REDACTED (dataplane/redact), route, service and consumer have none.
//
// What differs from Kong: source is "upstream" or "kong" alike, but there are no null members and no custom fields, and a
// workspace is not known to a gate, so workspace is the name "default".
package logrecord

import (
	"crypto/tls"
	"strconv"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/redact"
)

// gone is the status shown for a client that left before there was an answer, as nginx shows it.
const gone = 499

// Append appends the record of an exchange, without a newline. known are the entities of its table and secret the names of
// the parameters and headers that plugins take keys from, or write them to.
func Append(b []byte, ex *exchange.Exchange, known *Entities, secret []string) []byte {
	w := writer{b, ex, secret}
	w.request()
	w.upstream()
	w.response()
	w.latencies()
	w.tries()
	w.identity(known)
	w.text(`,"client_ip":"`, addrText(ex))
	w.number(`","started_at":`, ex.Start.UnixMilli())
	w.text(`,"source":"`, sourceOf(ex))
	w.raw(`","workspace":"default","workspace_name":"default"}`)
	return w.b
}

// writer appends members; a text's closing quote belongs to the next one.
type writer struct {
	b      []byte
	ex     *exchange.Exchange
	secret []string
}

func (w *writer) raw(text string) { w.b = append(w.b, text...) }

func (w *writer) text(before, text string) {
	w.b = redact.AppendQuoted(append(w.b, before...), text, redact.JSON)
}

func (w *writer) number(before string, n int64) {
	w.b = strconv.AppendInt(append(w.b, before...), n, 10)
}

func (w *writer) url(before, url string) {
	w.b = redact.AppendURL(append(w.b, before...), url, w.secret, redact.JSON)
}

func (w *writer) request() {
	r := &w.ex.Request
	w.text(`{"request":{"id":"`, w.ex.ID())
	w.url(`","uri":"`, r.Target)
	w.text(`","url":"`, r.Scheme)
	w.text(`://`, r.Host)
	if r.Port() == "" { // Kong always names the port
		w.number(`:`, int64(r.Local.Port()))
	}
	w.url(``, r.Target)
	w.raw(`","querystring":{`)
	w.query(r.RawQuery)
	w.text(`},"method":"`, r.Method)
	w.raw(`","headers":{`)
	w.headers(&r.Header, r.Host)
	w.number(`},"size":`, w.ex.Sent.RequestBytes+w.ex.Sent.ReceivedBytes)
	if r.TLS != nil {
		w.text(`,"tls":{"version":"`, versionText(r.TLS.Version))
		w.text(`","cipher":"`, cipherNames[r.TLS.CipherSuite])
		w.text(`","client_verify":"`, verifyText(w.ex))
		w.raw(`"}`)
	}
	w.raw(`}`)
}

// versionText names a version of TLS as OpenSSL does.
func versionText(version uint16) string {
	switch version {
	case tls.VersionTLS13:
		return "TLSv1.3"
	case tls.VersionTLS12:
		return "TLSv1.2"
	}
	return tls.VersionName(version)
}

// cipherNames are the names of crypto/tls, which makes lists of all suites for each name that it is asked for.
var cipherNames = func() map[uint16]string {
	names := map[uint16]string{}
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		names[suite.ID] = suite.Name
	}
	return names
}()

// verifyText says whether the client's certificate was verified, which only the plugin mtls-auth does.
func verifyText(ex *exchange.Exchange) string {
	if len(ex.Request.TLS.PeerCertificates) > 0 && ex.Consumer.CredentialKind == "mtls-auth" {
		return "SUCCESS"
	}
	return "NONE"
}

func (w *writer) upstream() {
	switch {
	case w.ex.UpstreamTarget == "":
	case w.ex.Rewritten.Secret:
		w.raw(`,"upstream_uri":"` + redact.Text + `"`)
	default:
		w.url(`,"upstream_uri":"`, w.ex.UpstreamTarget)
		w.raw(`"`)
	}
	if n := len(w.ex.Tries); n > 0 && w.ex.Tries[n-1].Status != 0 {
		w.number(`,"upstream_status":"`, int64(w.ex.Tries[n-1].Status))
		w.raw(`"`)
	}
}

func (w *writer) response() {
	r := &w.ex.Response
	status := int64(r.Status)
	if status == 0 {
		status = gone
	}
	w.number(`,"response":{"status":`, status)
	w.raw(`,"headers":{`)
	w.headers(&r.Header, "")
	w.number(`},"size":`, w.ex.Sent.HeadBytes+w.ex.Sent.BodyBytes)
	w.raw(`}`)
}

// latencies are in milliseconds: proxy is the wait for the upstream's head, -1 where nobody waited, receive from there to the end of
// the response, kong all that was not waiting.
func (w *writer) latencies() {
	ex := w.ex
	total, waited := ex.Since(exchange.Done), ex.Between(exchange.UpstreamStart, exchange.UpstreamHead)
	proxy := int64(-1)
	if ex.Response.Origin == exchange.Upstream {
		proxy = milliseconds(waited)
	}
	w.number(`,"latencies":{"kong":`, milliseconds(total-waited))
	w.number(`,"proxy":`, proxy)
	w.number(`,"request":`, milliseconds(total))
	w.number(`,"receive":`, milliseconds(ex.Between(exchange.UpstreamHead, exchange.Done)))
	w.raw(`}`)
}

func milliseconds(d time.Duration) int64 { return max(0, int64(d/time.Millisecond)) }

func (w *writer) tries() {
	w.raw(`,"tries":[`)
	for i := range w.ex.Tries {
		try := &w.ex.Tries[i]
		if i > 0 {
			w.raw(`,`)
		}
		start := w.ex.At(try.Start).UnixNano()
		w.number(`{"balancer_start":`, start/int64(time.Millisecond))
		w.number(`,"balancer_start_ns":`, start)
		took := max(0, try.Chosen-try.Start)
		w.number(`,"balancer_latency":`, took/int64(time.Millisecond))
		w.number(`,"balancer_latency_ns":`, took)
		if try.Address.IsValid() {
			w.raw(`,"ip":"`)
			w.b = try.Address.Addr().AppendTo(w.b)
			w.number(`","port":`, int64(try.Address.Port()))
		}
		switch {
		case try.Status != 0:
			w.number(`,"code":`, int64(try.Status))
		default:
			w.raw(`,"state":"failed"`)
		}
		w.raw(`}`)
	}
	w.raw(`]`)
}

// identity says who asked for what.
func (w *writer) identity(known *Entities) {
	if c := &w.ex.Consumer; c.CredentialID != "" {
		w.text(`,"authenticated_entity":{"id":"`, c.CredentialID)
		w.raw(`"}`)
	}
	if named, ok := w.ex.Route.(Named); ok {
		w.entity(`,"route":`, known.route(named), named)
	}
	if named, ok := w.ex.Service.(Named); ok {
		w.entity(`,"service":`, known.service(named), named)
	}
	if c := &w.ex.Consumer; c.ID != "" {
		w.entity(`,"consumer":`, known.consumer(c.ID), consumerNamed{c})
	}
}

// entity writes what is known of an entity: all, or its id and name.
func (w *writer) entity(before string, json []byte, named Named) {
	w.raw(before)
	if json != nil {
		w.b = append(w.b, json...)
		return
	}
	id, name := named.Identity()
	w.text(`{"id":"`, id)
	if name != "" {
		w.text(`","name":"`, name)
	}
	w.raw(`"}`)
}

// Named tells what a matched route or service is called; those of dataplane/table do.
type Named interface{ Identity() (id, name string) }

type consumerNamed struct{ *exchange.Consumer }

func (c consumerNamed) Identity() (id, name string) { return c.ID, "" }

func sourceOf(ex *exchange.Exchange) string {
	if ex.Response.Origin == exchange.Upstream {
		return "upstream"
	}
	return "kong"
}

func addrText(ex *exchange.Exchange) string {
	if !ex.Request.ClientAddr.IsValid() {
		return ""
	}
	return exchange.View(ex.Request.ClientAddr.AppendTo(ex.Bytes(len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255") + 17)[:0]))
}
