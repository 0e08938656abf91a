package requesttransformer

import (
	"bytes"
	"errors"
	"strings"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
)

// compilePath takes replace.uri. What the configuration says has to be a path; what requests put into it is looked at each time.
func (m *maker) compilePath(uri string) (err error) {
	if m.path, err = m.value(uri, inPath); err != nil {
		return err
	}
	t := &m.templates[m.path]
	first := t.text
	if !t.constant() {
		if first = t.parts[0].literal; first == "" {
			return nil // a value: it has to begin with a slash
		}
	}
	if !strings.HasPrefix(first, "/") {
		return errors.New("uri does not begin with a slash")
	}
	if len(t.values) > 0 && climbs(first) {
		return errors.New("what a reference leads to makes uri another path")
	}
	if _, err := exchange.Normalise(nil, first); err != nil {
		return errors.New("uri is not a path that can be normalised")
	}
	return nil
}

// setPath gives the upstream another path. It is normalised like one that a client asks for. Values of the request are text in it: "?", "#"
// and "%" of theirs are encoded, and should one make a segment of dots, the request is refused.
func (i *instance) setPath(ex *exchange.Exchange, w *work) bool {
	path := render(&i.templates[i.path], ex, w, intoPath)
	if !i.templates[i.path].constant() && climbs(path) {
		return false
	}
	normal, err := exchange.Normalise(ex.Bytes(len(path) + 1)[:0], path)
	if err != nil {
		return false
	}
	ex.Rewritten.Path, ex.Rewritten.Secret = exchange.View(normal), len(i.templates[i.path].values) > 0
	return true
}

// intoPath writes a value as text of a path. What the route took from the path is so already.
func intoPath(ex *exchange.Exchange, from source, value string) string {
	if from == fromCaptures || from == fromLiteral {
		return value
	}
	odd := 0
	for i := range len(value) {
		if hidden(value[i]) {
			odd++
		}
	}
	if odd == 0 {
		return value
	}
	const digits = "0123456789ABCDEF"
	b := ex.Bytes(len(value) + 2*odd)[:0]
	for i := range len(value) {
		if c := value[i]; hidden(c) {
			b = append(b, '%', digits[c>>4], digits[c&15])
		} else {
			b = append(b, c)
		}
	}
	return exchange.View(b)
}

func hidden(c byte) bool { return c == '%' || c == '?' || c == '#' || c < ' ' || c == 0x7F }

// climbs says whether a segment of path is one of dots to some server.
func climbs(path string) bool {
	for {
		at := strings.IndexByte(path, '/')
		if at < 0 {
			return exchange.HidesDots(path)
		}
		if exchange.HidesDots(path[:at+1]) {
			return true
		}
		path = path[at+1:]
	}
}

// setMethod gives the upstream another method. A form that goes out with a method that has no body is asked for in the query too, as Kong
// does it.
func (i *instance) setMethod(ex *exchange.Exchange, w *work) *plugin.Refusal {
	if ex.Request.Upgrade != "" {
		return nil // a handshake is a GET or nothing
	}
	ex.Rewritten.Method = i.method
	if i.method != "GET" && i.method != "HEAD" || mediaOf(ex) != form || !ex.Request.HasBody() {
		return nil
	}
	body, refusal := readBody(ex)
	if refusal != nil {
		return refusal
	}
	if bytes.Count(body, []byte("&")) >= maxPairs {
		return errTooLarge
	}
	w.parsePairs(ex, exchange.View(body))
	for n := range w.pairs { // written anew: a body may hold bytes that no target may
		p := &w.pairs[n]
		p.raw, p.text = "", decode(ex, p.text)
	}
	if len(w.pairs) == 0 {
		return nil
	}
	more, had := exchange.View(w.encodePairs(ex)), ex.Request.RawQuery
	if had != "" {
		more = ex.Join(had, "&", more)
	}
	ex.Request.RawQuery, ex.Request.HasQuery = more, true
	return nil
}
