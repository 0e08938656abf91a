package proxycache

import (
	"strconv"
	"strings"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// control is what Cache-Control says, of a request or a response (RFC 9111 §5.2). Numbers are seconds, -1 when they are not said.
type control struct {
	noStore, noCache, private, public, onlyIfCached, mustRevalidate bool

	maxAge, sMaxAge, minFresh, maxStale int64
}

// anyStale is a max-stale without a number.
const anyStale = 1 << 40

// readControl reads all fields of that name. What is not understood is left out, but for the directives that forbid: those are
// heard however they are written.
func readControl(header *exchange.Header) control {
	c := control{maxAge: -1, sMaxAge: -1, minFresh: -1, maxStale: -1}
	for n := range header.Len() {
		if f := header.At(n); len(f.Name) == len("Cache-Control") && exchange.EqualFold(f.Name, "Cache-Control") {
			for rest := f.Value; rest != ""; {
				var one string
				one, rest = cutDirective(rest)
				c.read(one)
			}
		}
	}
	return c
}

// cutDirective cuts at the first comma that is not quoted.
func cutDirective(text string) (one, rest string) {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			return text[:i], text[i+1:]
		}
	}
	return text, ""
}

func (c *control) read(directive string) {
	name, value, _ := strings.Cut(directive, "=")
	name, value = strings.Trim(name, " \t"), strings.Trim(value, " \t\"")
	is := func(one string) bool { return exchange.EqualFold(name, one) }
	switch {
	case is("no-store"):
		c.noStore = true
	case is("no-cache"): // with fields too: they could not be left out of every use
		c.noCache = true
	case is("private"):
		c.private = true
	case is("public"):
		c.public = true
	case is("only-if-cached"):
		c.onlyIfCached = true
	case is("must-revalidate"), is("proxy-revalidate"):
		c.mustRevalidate = true
	case is("max-age"):
		c.maxAge = seconds(value, c.maxAge)
	case is("s-maxage"):
		c.sMaxAge, c.mustRevalidate = seconds(value, c.sMaxAge), true // RFC 9111 §5.2.2.10
	case is("min-fresh"):
		c.minFresh = seconds(value, c.minFresh)
	case is("max-stale") && value == "":
		c.maxStale = anyStale
	case is("max-stale"):
		c.maxStale = seconds(value, c.maxStale)
	}
}

// seconds reads delta-seconds (RFC 9111 §1.2.2). Said twice, the lower one counts; what is no number is 0: stale.
func seconds(text string, before int64) int64 {
	n, err := strconv.ParseUint(text, 10, 63)
	switch {
	case text == "" || strings.TrimLeft(text, "0123456789") != "":
		n = 0
	case err != nil:
		n = 1 << 31
	}
	n = min(n, 1<<31)
	if before >= 0 {
		return min(before, int64(n))
	}
	return int64(n)
}

// lifetime is for how many seconds a response is fresh by its own word (RFC 9111 §4.2.1, of a shared cache).
func (c *control) lifetime(header *exchange.Header, now time.Time) int64 {
	switch {
	case c.sMaxAge >= 0:
		return c.sMaxAge
	case c.maxAge >= 0:
		return c.maxAge
	}
	text, found := header.Lookup("Expires")
	if !found {
		return 0
	}
	expires, ok := date(text)
	if !ok || header.Count("Expires") > 1 {
		return 0
	}
	from := now
	if said, ok := date(header.Get("Date")); ok {
		from = said
	}
	return min(max(0, int64(expires.Sub(from)/time.Second)), 1<<31)
}

// date reads a date of HTTP in its preferred form or one of the obsolete two, RFC 9110 §5.6.7.
func date(text string) (time.Time, bool) {
	for _, form := range [...]string{"Mon, 02 Jan 2006 15:04:05 GMT", "Monday, 02-Jan-06 15:04:05 GMT", time.ANSIC} {
		if t, err := time.Parse(form, text); err == nil {
			return t, true
		}
		if text == "" {
			break
		}
	}
	return time.Time{}, false
}

// media is a media type with parameters, as content_type names it. "*" stands for any type or subtype.
type media struct{ kind, sub, parameters string }

// parseMedia puts a media type into one form: lower case but for parameters' values, without blanks.
func parseMedia(text string) media {
	whole, parameters, _ := strings.Cut(text, ";")
	kind, sub, _ := strings.Cut(strings.ToLower(strings.Trim(whole, " \t")), "/")
	if kind == "*" && sub == "" {
		sub = "*" // as in Kong
	}
	var kept []string
	for one := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(one, "=")
		if name = strings.ToLower(strings.Trim(name, " \t")); name != "" {
			kept = append(kept, name+"="+strings.ToLower(strings.Trim(value, " \t\"")))
		}
	}
	return media{kind, sub, strings.Join(kept, ";")}
}

// covers says whether a response's type is one of m. Parameters have to be the same, as in Kong.
func (m media) covers(of media) bool {
	return (m.kind == "*" || m.kind == of.kind) && (m.sub == "*" || m.sub == of.sub) && m.parameters == of.parameters
}
