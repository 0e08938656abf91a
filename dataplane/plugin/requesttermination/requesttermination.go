// Package requesttermination is the plugin request-termination: it answers requests itself.
package requesttermination

import (
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
)

const (
	name     = "request-termination"
	jsonType = "application/json; charset=utf-8"
	maxEcho  = 64 << 10 // bytes of the body that are echoed
)

// Named tells what a matched route or service is called; those of dataplane/table do.
type Named interface{ Identity() (id, name string) }

// Kind is the plugin.
type Kind struct{}

// Name implements plugin.Kind.
func (Kind) Name() string { return name }

// Priority implements plugin.Kind.
func (Kind) Priority() int { return 2 }

// New implements plugin.Kind.
func (Kind) New(config []byte, _ plugin.Env) (any, error) {
	var c pluginv1.RequestTermination
	if err := proto.Unmarshal(config, &c); err != nil {
		return nil, errors.New("configuration cannot be decoded")
	}
	i := &instance{status: 503, trigger: c.GetTrigger(), echo: c.GetEcho()}
	if c.StatusCode != nil {
		i.status = int(c.GetStatusCode())
	}
	if i.status < 100 || i.status > 599 {
		return nil, errors.New("status_code is not between 100 and 599")
	}
	i.message = standardText(i.status)
	if c.Message != nil {
		i.message = c.GetMessage()
	}
	switch {
	case c.Body != nil:
		i.body, i.contentType = []byte(c.GetBody()), jsonType
		if c.ContentType != nil {
			i.contentType = c.GetContentType()
		}
	case i.message != "" || c.Message != nil:
		i.body, i.contentType = encode(map[string]any{"message": i.message}), jsonType
	}
	return i, nil
}

// standardText is the message where the configuration has none.
func standardText(status int) string {
	switch status {
	case 401:
		return "Unauthorized"
	case 404:
		return "Not found"
	case 405:
		return "Method not allowed"
	case 500:
		return "An unexpected error occurred"
	case 502:
		return "Bad Gateway"
	case 503:
		return "Service unavailable"
	}
	return ""
}

func encode(v any) []byte {
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(v) // maps and strings always encode
	return []byte(strings.TrimSuffix(text.String(), "\n"))
}

// instance is one configuration.
type instance struct {
	status               int
	message, contentType string
	body                 []byte
	trigger              string
	echo                 bool
}

// Access implements plugin.Accesser.
func (i *instance) Access(ex *exchange.Exchange, on *plugin.Runtime) {
	if i.trigger != "" && !triggered(ex, i.trigger) {
		return
	}
	if i.echo {
		ex.Answer(i.status, jsonType, encode(i.report(ex, on.SecretParameters())))
		return
	}
	ex.Answer(i.status, i.contentType, i.body)
}

// triggered says whether there is a header or a query parameter of that name.
func triggered(ex *exchange.Exchange, trigger string) bool {
	if ex.Request.Header.Has(trigger) {
		return true
	}
	for rest := ex.Request.RawQuery; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		name, value, _ := strings.Cut(pair, "=")
		if !plain(name) || !plain(value) || strings.Contains(pair, ";") {
			return query(ex).Has(trigger) // it takes decoding
		}
		if name == trigger {
			return true
		}
	}
	return false
}

// plain says whether a part of a query stands for itself.
func plain(part string) bool {
	return strings.IndexByte(part, '%') < 0 && strings.IndexByte(part, '+') < 0
}

func query(ex *exchange.Exchange) url.Values {
	values, _ := url.ParseQuery(ex.Request.RawQuery) // what is not well-formed is left out
	return values
}

// redacted stands where a credential was.
const redacted = "REDACTED"

// isCredential says whether a header or parameter is one that requests prove themselves by. secret are the names that
// some plugin of the table takes keys from.
func isCredential(name string, secret []string) bool {
	for _, known := range [...]string{"Authorization", "Proxy-Authorization", "Cookie"} {
		if exchange.EqualFold(name, known) {
			return true
		}
	}
	return slices.ContainsFunc(secret, func(known string) bool { return exchange.EqualFold(name, known) })
}

// report is what echo shows: the request as the plugin saw it, and where it was going. Kong shows credentials too; we do not:
// a script could read by an echo the cookie or password that a browser keeps from it (RFC 9110 §9.3.8 says so of TRACE).
func (i *instance) report(ex *exchange.Exchange, secret []string) map[string]any {
	request := &ex.Request
	host, port := exchange.SplitHost(request.Host)
	headers := map[string]any{}
	for header, value := range request.Header.All() {
		if isCredential(header, secret) {
			value = redacted
		}
		merge(headers, strings.ToLower(header), value)
	}
	arguments := map[string]any{}
	for argument, values := range query(ex) {
		for _, value := range values {
			if isCredential(argument, secret) {
				value = redacted
			}
			merge(arguments, argument, value)
		}
	}
	hostname, _ := os.Hostname()
	shown := map[string]any{
		"message": i.message,
		"kong":    map[string]any{"hostname": hostname, "worker_pid": os.Getpid()},
		"request": map[string]any{
			"scheme": request.Scheme, "host": host, "port": portOf(request.Scheme, port), "method": request.Method,
			"path": request.Path, "headers": headers, "query": arguments,
		},
	}
	if body, err := ex.BufferBody(maxEcho); err == nil {
		shown["request"].(map[string]any)["raw_body"] = string(body)
	}
	if route, ok := ex.Route.(Named); ok {
		shown["matched_route"] = identity(route)
	}
	if service, ok := ex.Service.(Named); ok {
		shown["matched_service"] = identity(service)
	}
	return shown
}

func identity(n Named) map[string]any {
	id, name := n.Identity()
	return map[string]any{"id": id, "name": name}
}

func portOf(scheme, port string) int {
	if n, err := strconv.Atoi(port); err == nil {
		return n
	}
	if scheme == "https" {
		return 443
	}
	return 80
}

// merge adds value under name, making a list of several.
func merge(to map[string]any, name, value string) {
	switch have := to[name].(type) {
	case nil:
		to[name] = value
	case string:
		to[name] = []string{have, value}
	case []string:
		to[name] = append(have, value)
	}
}
