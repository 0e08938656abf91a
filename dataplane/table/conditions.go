package table

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// conditions are those that are checked after host and path.
type conditions struct {
	methods []string
	snis    []string // lower-cased
	headers []headerCondition
}

type headerCondition struct {
	name   string
	values []string // compared without regard to case
	regex  []*regexp.Regexp
}

func parseHeader(name string, values []string) (headerCondition, error) {
	h := headerCondition{name: name}
	for _, value := range values {
		expression, isRegex := strings.CutPrefix(value, "~*")
		if !isRegex {
			h.values = append(h.values, value)
			continue
		}
		regex, err := regexp.Compile("(?i)" + expression)
		if err != nil {
			return h, fmt.Errorf("header %s: not a regular expression that RE2 knows: %w", name, err)
		}
		h.regex = append(h.regex, regex)
	}
	return h, nil
}

func lowered(values []string) []string {
	low := make([]string, len(values))
	for i, value := range values {
		low[i] = strings.TrimSuffix(strings.ToLower(value), ".")
	}
	return low
}

// matches checks everything but host and path.
func (c *conditions) matches(r *exchange.Request) bool {
	if len(c.methods) > 0 && !slices.Contains(c.methods, r.Method) {
		return false
	}
	for i := range c.headers {
		if !c.headers[i].matches(&r.Header) {
			return false
		}
	}
	return len(c.snis) == 0 || r.TLS == nil || matchesSNI(c.snis, r.SNI())
}

func (h *headerCondition) matches(header *exchange.Header) bool {
	for i := range header.Len() {
		field := header.At(i)
		if !exchange.EqualFold(field.Name, h.name) {
			continue
		}
		for _, value := range h.values {
			if exchange.EqualFold(field.Value, value) {
				return true
			}
		}
		for _, regex := range h.regex {
			if regex.MatchString(field.Value) {
				return true
			}
		}
	}
	return false
}

func matchesSNI(names []string, sni string) bool {
	for _, name := range names {
		switch {
		case strings.HasPrefix(name, "*"):
			if n := len(sni) - len(name) + 1; n >= 0 && exchange.EqualFold(sni[n:], name[1:]) {
				return true
			}
		case strings.HasSuffix(name, "*"):
			if n := len(name) - 1; len(sni) >= n && exchange.EqualFold(sni[:n], name[:n]) {
				return true
			}
		case exchange.EqualFold(sni, name): // clients send it as they like, RFC 6066 §3
			return true
		}
	}
	return false
}
