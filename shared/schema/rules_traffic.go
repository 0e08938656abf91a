package schema

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

func joined(names []string) string { return strings.Join(names, ", ") }

// serviceURL lets a service be given as one URL.
func serviceURL() rule {
	return rule{prepare: func(b *build) {
		v, found := b.doc["url"]
		delete(b.doc, "url")
		if !found || v == nil {
			return
		}
		s, ok := v.(string)
		if !ok {
			b.problems.field("url", expected(String))
			return
		}
		if message := splitURL(s, b.doc); message != "" {
			b.problems.field("url", message)
		}
	}}
}

// splitURL writes protocol, host, port and path into doc. Without a scheme, port 80 or 443 decides.
func splitURL(s string, doc Document) string {
	withScheme := s
	if !strings.Contains(s, "://") {
		withScheme = "//" + strings.TrimPrefix(s, "//")
	}
	u, err := url.Parse(withScheme)
	if err != nil || u.Hostname() == "" {
		return "missing host in url"
	}
	scheme := u.Scheme
	port, err := strconv.ParseInt(u.Port(), 10, 64)
	if u.Port() != "" && err != nil {
		return "could not parse url. invalid port"
	}
	switch {
	case scheme == "" && port == 80:
		scheme = "http"
	case scheme == "" && port == 443:
		scheme = "https"
	case u.Port() == "" && scheme == "http":
		port = 80
	case u.Port() == "" && scheme == "https":
		port = 443
	}
	if scheme != "" {
		doc["protocol"] = scheme
	}
	if port != 0 || u.Port() != "" {
		doc["port"] = port
	}
	doc["host"], doc["path"] = u.Hostname(), nil
	if path := u.EscapedPath(); path != "" {
		doc["path"] = path
	}
	return ""
}

// routeProtocols holds what the protocols of a route demand of its other fields and forbid.
func routeProtocols() rule {
	return rule{
		complete: func(b *build) {
			if given := b.doc["strip_path"]; given != true && hasAny(b.tree["protocols"], "grpc", "grpcs") {
				b.tree["strip_path"] = false
			}
		},
		reads: []string{"protocols"},
		check: func(b *build, tree map[string]any, p problems) {
			protocols := tree["protocols"]
			if headers, _ := tree["headers"].(map[string]any); hasHost(headers) {
				p.field("headers", "cannot contain 'host' header, which must be specified in the 'hosts' attribute")
			}
			if !hasAny(protocols, "grpcs", "https", "tls", "tls_passthrough") && !isEmpty(tree["snis"]) {
				p.entity("'snis' can only be set when 'protocols' is 'grpcs', 'https', 'tls' or 'tls_passthrough'")
				p.field("snis", "length must be 0")
			}
			switch {
			case hasAny(protocols, "http", "https"):
				forbid(tree, p, "'http' or 'https'", "sources", "destinations")
				demand(tree, p, protocols, "https", "http", "methods", "hosts", "headers", "paths")
			case hasAny(protocols, "grpc", "grpcs"):
				if tree["strip_path"] == true {
					p.field("strip_path", "cannot set 'strip_path' when 'protocols' is 'grpc' or 'grpcs'")
				}
				forbid(tree, p, "'grpc' or 'grpcs'", "methods", "sources", "destinations")
				demand(tree, p, protocols, "grpcs", "grpc", "hosts", "headers", "paths")
			default:
				checkStream(tree, p, protocols)
			}
		},
	}
}

func hasHost(headers map[string]any) bool {
	for name := range headers {
		if strings.EqualFold(name, "host") {
			return true
		}
	}
	return false
}

func checkStream(tree map[string]any, p problems, protocols any) {
	forbid(tree, p, "'tcp', 'tls', 'tls_passthrough' or 'udp'", "methods", "hosts", "paths", "headers")
	matching := []string{"sources", "destinations", "snis"}
	if hasAny(protocols, "tcp", "tls", "udp") && !faulty(p, matching...) && count(tree, matching) == 0 {
		p.entity("must set one of " + quoted(matching) + " when 'protocols' is 'tcp', 'tls' or 'udp'")
	}
	if hasAny(protocols, "tls_passthrough") && !faulty(p, "snis") && isEmpty(tree["snis"]) {
		p.entity("must set snis when 'protocols' is 'tls_passthrough'")
	}
}

// demand asks for one of the fields; over TLS server names count too.
func demand(tree map[string]any, p problems, protocols any, secure, clear string, fields ...string) {
	protocol := clear
	if hasAny(protocols, secure) {
		protocol, fields = secure, append(fields, "snis")
	}
	if !faulty(p, fields...) && count(tree, fields) == 0 {
		p.entity(fmt.Sprintf("must set one of %s when 'protocols' is '%s'", quoted(fields), protocol))
	}
}

func forbid(tree map[string]any, p problems, protocols string, fields ...string) {
	for _, name := range fields {
		if tree[name] != nil {
			p.field(name, fmt.Sprintf("cannot set '%s' when 'protocols' is %s", name, protocols))
		}
	}
}

// hasAny says whether a list holds one of the values.
func hasAny(list any, values ...string) bool {
	items, _ := list.([]any)
	return slices.ContainsFunc(items, func(item any) bool {
		s, _ := item.(string)
		return slices.Contains(values, s)
	})
}

// upstreamHashing holds which fields hash_on and hash_fallback need, and how they go together.
func upstreamHashing() rule {
	return rule{
		prepare: func(b *build) {
			if on, ok := b.doc["hash_on"].(string); ok && on != "none" {
				b.doc["algorithm"] = "consistent-hashing"
			}
		},
		reads: []string{"hash_on", "hash_fallback"},
		check: func(_ *build, tree map[string]any, p problems) {
			on, _ := tree["hash_on"].(string)
			fallback, _ := tree["hash_fallback"].(string)
			needInput(tree, p, "hash_on", on)
			needInput(tree, p, "hash_fallback", fallback)
			if allowed := fallbacksOf(on); !slices.Contains(allowed, fallback) && fallback != "" {
				p.entity(conditionFailed("hash_on"))
				p.field("hash_fallback", "expected one of: "+joined(allowed))
			}
			for _, input := range []string{"header", "query_arg", "uri_capture"} {
				pair := []string{"hash_on_" + input, "hash_fallback_" + input}
				if v := tree[pair[0]]; v != nil && v == tree[pair[1]] {
					p.entity("values of these fields must be distinct: " + quoted(pair))
				}
			}
		},
	}
}

// needInput asks for the field that names what is hashed. There is one cookie for both.
func needInput(tree map[string]any, p problems, field, value string) {
	companion := ""
	switch value {
	case "header", "query_arg", "uri_capture":
		companion = field + "_" + value
	case "cookie":
		companion = "hash_on_cookie"
	default:
		return
	}
	if tree[companion] == nil && !faulty(p, companion) {
		p.entity(conditionFailed(field))
		p.field(companion, requiredMissing)
	}
}

// fallbacksOf lists what hash_fallback may be beside a hash_on.
func fallbacksOf(on string) []string {
	all := []string{"none", "consumer", "ip", "header", "cookie", "path", "query_arg", "uri_capture"}
	switch on {
	case "none", "cookie":
		return all[:1]
	case "consumer", "ip", "path":
		return slices.DeleteFunc(all, func(name string) bool { return name == on })
	}
	return all
}

// requestTerminationBody keeps the two ways to give an answer apart.
func requestTerminationBody() rule {
	return rule{config: func(tree map[string]any) string {
		message, contentType, body := !isEmpty(tree["message"]), !isEmpty(tree["content_type"]), !isEmpty(tree["body"])
		switch {
		case message && (contentType || body):
			return "message cannot be used with content_type or body"
		case contentType && !body:
			return "content_type requires a body"
		}
		return ""
	}}
}
