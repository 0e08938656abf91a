package requesttransformer

import (
	"strings"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/jsonobject"
	"github.com/keepgate/keepgate/dataplane/plugin"
)

// work is what the transformation of one request needs, reused from one to the next.
type work struct {
	values   []string // of the instance's templates, by number: views of the exchange
	captured []captured
	pairs    []pair
	object   jsonobject.Object
}

// captured is what a group of the route's expression took.
type captured struct {
	number      int
	name, value string
}

// reset lets go of the exchange.
func (w *work) reset() {
	clear(w.values)
	clear(w.captured)
	w.object.Reset()
	if cap(w.pairs) > 256 {
		w.pairs = nil
	}
	clear(w.pairs[:cap(w.pairs)])
	w.values, w.captured, w.pairs = w.values[:0], w.captured[:0], w.pairs[:0]
}

// fill computes the values of all templates before anything is changed: they speak of the request as it came.
func (i *instance) fill(ex *exchange.Exchange, w *work) {
	if i.captures {
		plugin.Captures(ex, func(number int, name, value string) {
			w.captured = append(w.captured, captured{number, name, value})
		})
	}
	for n := range i.templates {
		w.values = append(w.values, render(&i.templates[n], ex, w, plain))
	}
}

// quoting is how a value is written into a text. from says where it is from, fromLiteral for the configuration.
type quoting func(ex *exchange.Exchange, from source, value string) string

func plain(_ *exchange.Exchange, _ source, value string) string { return value }

// render fills in one template.
func render(t *template, ex *exchange.Exchange, w *work, quote quoting) string {
	switch {
	case t.constant():
		return t.text
	case len(t.parts) == 1:
		from, value := t.parts[0].first(ex, w)
		return quote(ex, from, value)
	}
	var few [8]string
	texts := few[:0]
	for n := range t.parts {
		p := &t.parts[n]
		if p.terms == nil {
			texts = append(texts, p.literal)
			continue
		}
		from, value := p.first(ex, w)
		texts = append(texts, quote(ex, from, value))
	}
	return ex.Join(texts...)
}

// first returns the first value of an expression that there is.
func (p *part) first(ex *exchange.Exchange, w *work) (source, string) {
	for n := range p.terms {
		if value, found := p.terms[n].value(ex, w); found {
			return p.terms[n].from, value
		}
	}
	return fromLiteral, ""
}

func (t *term) value(ex *exchange.Exchange, w *work) (value string, found bool) {
	switch t.from {
	case fromLiteral:
		return t.name, true
	case fromHeaders:
		return t.header(ex)
	case fromQuery:
		return fromRawQuery(ex, t.name)
	case fromCaptures:
		for _, c := range w.captured {
			if t.number > 0 && c.number == t.number || t.number == 0 && c.name == t.name {
				return c.value, true
			}
		}
	}
	return "", false // nothing is shared
}

func (t *term) header(ex *exchange.Exchange) (string, bool) {
	if value, found := ex.Request.Header.Lookup(t.name); found {
		return value, true
	}
	if exchange.EqualFold(t.other, "host") { // is no header here
		return ex.Request.Host, ex.Request.Host != ""
	}
	return ex.Request.Header.Lookup(t.other)
}

// fromRawQuery returns the first value of a parameter, decoded.
func fromRawQuery(ex *exchange.Exchange, name string) (string, bool) {
	for rest := ex.Request.RawQuery; rest != ""; {
		var text string
		text, rest, _ = strings.Cut(rest, "&")
		rawName, rawValue, _ := strings.Cut(text, "=")
		if decode(ex, rawName) == name {
			return decode(ex, rawValue), true
		}
	}
	return "", false
}
