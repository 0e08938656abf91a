package schema

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	stdpem "encoding/pem"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/keepgate/keepgate/shared/reserved"
	"github.com/keepgate/keepgate/shared/secretref"
)

// jwtPublicKey demands a public key of the kind that the algorithm verifies with.
func jwtPublicKey() rule {
	return rule{
		reads: []string{"algorithm", "rsa_public_key"},
		check: func(_ *build, tree map[string]any, p problems) {
			algorithm, _ := tree["algorithm"].(string)
			text, given := tree["rsa_public_key"].(string)
			switch {
			case strings.HasPrefix(algorithm, "HS"):
				if given && !validPublicKey(text, "") {
					p.field("rsa_public_key", "invalid key")
				}
			case !given:
				p.field("rsa_public_key", requiredMissing)
			case !validPublicKey(text, algorithm):
				p.field("rsa_public_key", "invalid key")
			}
		},
	}
}

// leastRSABits: shorter keys are not verified with (crypto/rsa refuses them).
const leastRSABits = 1024

// validPublicKey reads a PEM public key; algorithm "" accepts every kind.
func validPublicKey(text, algorithm string) bool {
	block, _ := stdpem.Decode([]byte(text))
	if block == nil {
		return false
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		if key, err = x509.ParsePKCS1PublicKey(block.Bytes); err != nil {
			return false
		}
	}
	switch key := key.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() < leastRSABits {
			return false
		}
		return algorithm == "" || algorithm[0] == 'R' || algorithm[0] == 'P'
	case *ecdsa.PublicKey:
		bits := map[string]int{"ES256": 256, "ES384": 384, "ES512": 521}[algorithm]
		return algorithm == "" || key.Params().BitSize == bits
	case ed25519.PublicKey:
		return algorithm == "" || algorithm == "EdDSA"
	}
	return false
}

// jwtExpiration keeps maximum_expiration from having nothing to look at.
func jwtExpiration() rule {
	return rule{config: func(tree map[string]any) string {
		claims, _ := tree["claims_to_verify"].([]any)
		if numberOf(tree["maximum_expiration"]) > 0 && !slices.Contains(claims, any("exp")) {
			return "expected claims_to_verify to contain: exp"
		}
		return ""
	}}
}

// rateLimits wants a limit, limits that grow with their periods, and what limit_by goes by.
func rateLimits() rule {
	periods := []string{"second", "minute", "hour", "day", "month", "year"}
	return rule{config: func(tree map[string]any) string {
		shorter := ""
		for _, period := range periods {
			if tree[period] == nil {
				continue
			}
			if shorter != "" && numberOf(tree[period]) < numberOf(tree[shorter]) {
				return fmt.Sprintf("The limit for %s(%s) cannot be lower than the limit for %s(%s)",
					period, limitText(tree[period]), shorter, limitText(tree[shorter]))
			}
			shorter = period
		}
		switch by := tree["limit_by"]; {
		case shorter == "":
			return "at least one of these fields must be non-empty: " + quoted(periods)
		case by == "header" && isEmpty(tree["header_name"]):
			return "limit_by header requires header_name"
		case by == "path" && isEmpty(tree["path"]):
			return "limit_by path requires path"
		}
		return ""
	}}
}

// limitText writes a limit as Kong does: with a fraction.
func limitText(v any) string {
	text := strconv.FormatFloat(numberOf(v), 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

func numberOf(v any) float64 {
	switch n := v.(type) {
	case int64:
		return float64(n)
	case float64:
		return n
	}
	return 0
}

// namedValues wants a value of every entry that sets something: what follows the first colons of its text.
func namedValues() rule {
	return rule{config: func(tree map[string]any) string {
		for _, step := range []string{"rename", "replace", "add", "append"} {
			lists, _ := tree[step].(map[string]any)
			for _, part := range []string{"headers", "querystring", "body", "json"} {
				entries, _ := lists[part].([]any)
				for _, entry := range entries {
					text, _ := entry.(string)
					if name, value := reserved.Cut(text); value == "" {
						return "key '" + name + "' has no value"
					}
					if problem := embedded(text); problem != "" {
						return problem
					}
				}
			}
			uri, _ := lists["uri"].(string)
			if problem := brokenReference(uri); problem != "" {
				return problem
			}
		}
		return ""
	}}
}

// transformedHeaders refuses names of headers that no gate would read or write.
func transformedHeaders(wrong func(reserved.Changes) string) rule {
	return rule{config: func(tree map[string]any) string {
		var c reserved.Changes
		for _, step := range []string{"remove", "rename", "replace", "add", "append"} {
			lists, _ := tree[step].(map[string]any)
			entries, _ := lists["headers"].([]any)
			for _, entry := range entries {
				text, _ := entry.(string)
				name, to := reserved.Cut(text)
				switch step {
				case "remove":
					c.Read = append(c.Read, name)
				case "rename":
					c.Read, c.Renamed = append(c.Read, name), append(c.Renamed, to)
				case "replace":
					c.Replace = append(c.Replace, name)
				default:
					c.Set = append(c.Set, name)
				}
			}
		}
		return wrong(c)
	}}
}

// embedded says what is wrong with an entry that has references behind its name.
func embedded(entry string) string {
	if secretref.Meant(entry) {
		return "a reference stands behind a name: name:{kvm://map/key}"
	}
	return brokenReference(entry)
}

// brokenReference says what is wrong with the first reference within a text that is none.
func brokenReference(text string) string {
	for part := range secretref.Cut(text) {
		if part.Err != nil {
			return "invalid reference: " + part.Err.Error()
		}
	}
	return ""
}

const luaMessage = "custom_fields_by_lua is not available: Lua is not run"

// noLua refuses what would be left out of records without a word.
func noLua() rule {
	return rule{config: func(tree map[string]any) string {
		if !isEmpty(tree["custom_fields_by_lua"]) {
			return luaMessage
		}
		return ""
	}}
}

// httpLog wants an endpoint that can be reached and headers that can be sent and do not contradict what is written anyway.
func httpLog() rule {
	return rule{config: func(tree map[string]any) string {
		if endpoint, _ := tree["http_endpoint"].(string); !isReference(endpoint) {
			u, err := url.Parse(endpoint)
			if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
				return "http_endpoint is not a URL of http or https" // it may hold credentials, so it is not shown
			}
		}
		headers, _ := tree["headers"].(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(headers)) {
			value, _ := headers[name].(string)
			if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7F }) {
				return "the value of the header '" + name + "' holds a control character, which no request can carry"
			}
			if slices.Contains([]string{"host", "content-type", "content-length"}, strings.ToLower(name)) {
				return "cannot contain '" + name + "' header"
			}
		}
		if !isEmpty(tree["custom_fields_by_lua"]) {
			return luaMessage
		}
		return ""
	}}
}

// proxyCache wants media types, since an entry that is none would match no response and nobody would see why nothing is kept, and
// names of headers that a gate can read.
func proxyCache() rule {
	return rule{config: func(tree map[string]any) string {
		types, _ := tree["content_type"].([]any)
		for _, one := range types {
			text, _ := one.(string)
			whole, _, _ := strings.Cut(text, ";")
			kind, sub, _ := strings.Cut(strings.Trim(whole, " \t"), "/")
			if (kind != "*" || sub != "") && (!reserved.Name(kind) || !reserved.Name(sub)) {
				return "content_type: '" + text + "' is no media type, as text/plain or text/*; */* stands for any"
			}
		}
		headers, _ := tree["vary_headers"].([]any)
		for _, one := range headers {
			if name, _ := one.(string); !reserved.Name(name) {
				return "vary_headers: '" + name + "' is not the name of a header"
			}
		}
		return ""
	}}
}
