package proxy

import (
	"encoding/json"
	"html"
	"strings"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
)

// What the gateway answers by itself, in Kong's words.
var (
	errNoRoute    = &plugin.Refusal{Status: 404, Message: "no Route matched with those values"}
	errNoService  = &plugin.Refusal{Status: 503, Message: "no Service found with those values"}
	errName       = &plugin.Refusal{Status: 503, Message: "name resolution failed"}
	errNoPeer     = &plugin.Refusal{Status: 503, Message: "failure to get a peer from the ring-balancer"}
	errBadGateway = &plugin.Refusal{Status: 502, Message: "An invalid response was received from the upstream server"}
	errTimeout    = &plugin.Refusal{Status: 504, Message: "The upstream server is timing out"}
	errUseHTTPS   = &plugin.Refusal{Status: 426, Message: "Please use HTTPS protocol"}
	errBadRequest = &plugin.Refusal{Status: 400, Message: "Bad request"}
	errSlowBody   = &plugin.Refusal{Status: 408, Message: "Request timeout"}
	errTooLarge   = &plugin.Refusal{Status: 413, Message: "Payload too large"}
)

// transport are the answers that in Kong are nginx's own: without an Accept their form follows the request's
// Content-Type.
func transport(r *plugin.Refusal) bool {
	switch r {
	case errBadGateway, errTimeout, errBadRequest, errSlowBody, errTooLarge, errNotAllowed, errLength, errURITooLong,
		errExpectation, errHeadTooLong, errNotServed, errVersion:
		return true
	}
	return false
}

func bodyRefusal(status int) *plugin.Refusal {
	switch status {
	case 413:
		return errTooLarge
	case 408:
		return errSlowBody
	}
	return errBadRequest
}

// redirect sends the client to https.
func redirect(status int) *plugin.Refusal {
	return &plugin.Refusal{Status: status, Message: "Please use HTTPS protocol"}
}

// form is one of the forms that an error can take.
type form struct{ mime, before, between, after string }

var (
	jsonForm = form{"application/json; charset=utf-8", "{\n  \"message\":\"", "\",\n  \"request_id\":\"", "\"\n}"}
	htmlForm = form{
		"text/html; charset=utf-8",
		"<!doctype html>\n<html>\n  <head>\n    <meta charset=\"utf-8\">\n    <title>Error</title>\n  </head>\n" +
			"  <body>\n    <h1>Error</h1>\n    <p>", ".</p>\n    <p>request_id: ", "</p>\n  </body>\n</html>\n",
	}
	plainForm = form{"text/plain; charset=utf-8", "", "\nrequest_id: ", "\n"}
	xmlForm   = form{
		"application/xml; charset=utf-8",
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<error>\n  <message>", "</message>\n  <requestid>", "</requestid>\n</error>",
	}
)

// writeError makes the body of a refusal to the client's taste.
func (p *Proxy) writeError(ex *exchange.Exchange, r *plugin.Refusal) {
	accept, asked := ex.Request.Header.Lookup("Accept")
	if !asked && transport(r) {
		accept = or(ex.Request.Header.Get("Content-Type"), p.options.ErrorType)
	}
	f := formFor(accept)
	id := ex.ID()
	body := ex.Bytes(len(f.before) + len(r.Message) + len(f.between) + len(id) + len(f.after))[:0]
	body = append(f.appendText(append(body, f.before...), r.Message), f.between...)
	body = append(append(body, id...), f.after...)
	ex.Response.Body = body
	ex.Response.ContentLength = int64(len(body))
	ex.Response.Header.Set("Content-Type", f.mime)
}

// appendText appends a message so that it stays one: plugins take theirs from configurations.
func (f *form) appendText(body []byte, message string) []byte {
	if f == &plainForm || !strings.ContainsFunc(message, func(c rune) bool { return c < ' ' || strings.ContainsRune(`"\<>&`, c) }) {
		return append(body, message...)
	}
	if f != &jsonForm {
		return append(body, html.EscapeString(message)...)
	}
	quoted, _ := json.Marshal(message) // of a string: cannot fail
	return append(body, quoted[1:len(quoted)-1]...)
}

// formFor picks the form of an Accept header: the media type with the highest quality, the first of equal ones.
// JSON serves what is unknown.
func formFor(accept string) *form {
	best, chosen := 0.0, &jsonForm
	for rest := accept; rest != ""; {
		var item string
		item, rest, _ = strings.Cut(rest, ",")
		media, parameters, _ := strings.Cut(item, ";")
		quality := qualityOf(parameters)
		if quality <= best {
			continue
		}
		best, chosen = quality, formOf(strings.Trim(media, " \t"))
	}
	return chosen
}

func formOf(media string) *form {
	switch {
	case exchange.EqualFold(media, "text/html"), exchange.EqualFold(media, "application/xhtml+xml"):
		return &htmlForm
	case exchange.EqualFold(media, "text/plain"), exchange.EqualFold(media, "text/*"):
		return &plainForm
	case exchange.EqualFold(media, "application/xml"), exchange.EqualFold(media, "text/xml"):
		return &xmlForm
	}
	return &jsonForm
}

// qualityOf reads q=0.x from the parameters of a media type, RFC 9110 §12.4.2; 1 without one.
func qualityOf(parameters string) float64 {
	for rest := parameters; rest != ""; {
		var one string
		one, rest, _ = strings.Cut(rest, ";")
		one = strings.Trim(one, " \t")
		if len(one) < 3 || one[0]|0x20 != 'q' || one[1] != '=' || one[2] < '0' || one[2] > '1' {
			continue
		}
		value, unit := float64(one[2]-'0'), 1.0
		if len(one) > 4 && one[3] == '.' {
			for _, c := range []byte(one[4:min(len(one), 7)]) {
				if c < '0' || c > '9' {
					break
				}
				unit /= 10
				value += float64(c-'0') * unit
			}
		}
		return value
	}
	return 1
}
