package cors

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// origins decides which origins may read responses.
type origins struct {
	any    bool   // all of them
	single string // is told to everybody, whoever asks
	list   []pattern
}

// pattern is one entry of the configuration: a regular expression, or a normalised origin.
type pattern struct {
	regexp *regexp.Regexp
	byHost bool // the expression is about the host alone
	plain  string
}

func parseOrigins(list []string) (*origins, error) {
	o := &origins{any: len(list) == 0 || len(list) == 1 && list[0] == "*"}
	if len(list) == 1 && isPlain(list[0]) {
		o.single = list[0]
		return o, nil
	}
	for _, text := range list {
		switch {
		case o.any:
		case text == "*": // among others it is for every origin too
			o.list = append(o.list, pattern{regexp: regexp.MustCompile("")})
		case isPlain(text):
			plain, _ := normalise(text)
			o.list = append(o.list, pattern{plain: strings.Clone(plain)})
		default:
			compiled, err := regexp.Compile(`\A(?:` + text + `)\z`)
			if err != nil {
				return nil, fmt.Errorf("origins: %q is no regular expression that this node can use", text)
			}
			o.list = append(o.list, pattern{regexp: compiled, byHost: !strings.Contains(text, ":")})
		}
	}
	return o, nil
}

// isPlain says whether text holds nothing that would mean something in a regular expression but dots.
func isPlain(text string) bool {
	for _, c := range []byte(text) {
		switch {
		case '0' <= c && c <= '9', 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', strings.IndexByte(".:/-", c) >= 0:
		default:
			return false
		}
	}
	return text != ""
}

// match says whether an origin that a request names may read the response.
func (o *origins) match(origin string) bool {
	if origin == "" {
		return false
	}
	whole, host := normaliseSent(origin)
	for i := range o.list {
		p := &o.list[i]
		switch {
		case p.regexp == nil:
			if p.plain == whole {
				return true
			}
		case p.byHost:
			if p.regexp.MatchString(host) {
				return true
			}
		case p.regexp.MatchString(whole):
			return true
		}
	}
	return false
}

// normalise drops the path and a port that the scheme has anyway, and lowers the case of scheme and host. What has no
// scheme and host stays as it is.
func normalise(origin string) (whole, host string) {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return origin, origin
	}
	host = strings.ToLower(u.Hostname())
	name := host
	if strings.Contains(name, ":") {
		name = "[" + name + "]"
	}
	if port := u.Port(); port != "" && port != defaultPort(u.Scheme) {
		name += ":" + port
	}
	return strings.ToLower(u.Scheme) + "://" + name, host
}

func defaultPort(scheme string) string {
	switch strings.ToLower(scheme) {
	case "http":
		return "80"
	case "https":
		return "443"
	}
	return ""
}

// normaliseSent is normalise for what a request says. Browsers send origins in this form (RFC 6454 §6.2), which then costs
// nothing; the rest takes the long way.
func normaliseSent(origin string) (whole, host string) {
	scheme, rest, found := strings.Cut(origin, "://")
	if !found {
		return origin, origin
	}
	host = rest
	port := ""
	if i := strings.LastIndexByte(rest, ':'); i >= 0 {
		host, port = rest[:i], rest[i+1:]
	}
	if scheme != "http" && scheme != "https" || host == "" || !isLowerHost(host) || !isDigits(port) || strings.HasSuffix(rest, ":") || port == defaultPort(scheme) {
		return normalise(origin)
	}
	return origin, host
}

func isLowerHost(host string) bool {
	for _, c := range []byte(host) {
		switch {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', c == '.', c == '-':
		default:
			return false
		}
	}
	return true
}

func isDigits(text string) bool {
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
