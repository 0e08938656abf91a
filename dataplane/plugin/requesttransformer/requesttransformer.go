// Package requesttransformer is the plugin request-transformer: it changes a request before it is forwarded.
//
// Everything is compiled once (rules.go, template.go, references.go). For a request, the values of all templates are filled in first (render.go), from
// the request as it came; then path, method, headers, body and query are changed, in this order.
package requesttransformer

import (
	"errors"
	"fmt"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
)

const name = "request-transformer"

var errNoName = errors.New("an entry has no name")

// Kind is the plugin.
type Kind struct{ works *sync.Pool } // of *work

// New makes the plugin.
func New() Kind { return Kind{&sync.Pool{New: func() any { return new(work) }}} }

// Name implements plugin.Kind.
func (Kind) Name() string { return name }

// Priority implements plugin.Kind.
func (Kind) Priority() int { return 801 }

// New implements plugin.Kind.
func (k Kind) New(config []byte, env plugin.Env) (any, error) {
	var c pluginv1.RequestTransformer
	if err := proto.Unmarshal(config, &c); err != nil {
		return nil, errors.New("configuration cannot be decoded")
	}
	i := &instance{works: k.works, method: c.GetHttpMethod(), path: -1}
	if err := (&maker{i, env.Lookup}).compile(&c); err != nil {
		return nil, err
	}
	for n := range i.templates {
		i.captures = i.captures || i.templates[n].uses(fromCaptures)
	}
	return i, nil
}

// instance is one configuration.
type instance struct {
	works *sync.Pool

	method               string
	path                 int // which of templates is replace.uri; -1: none
	headers, body, query rules

	templates []template
	captures  bool // some template has a value that the route's expression took
}

func (m *maker) compile(c *pluginv1.RequestTransformer) (err error) {
	i := m.instance
	switch {
	case i.method == "":
	case !exchange.ValidName(i.method):
		return errors.New("http_method is not a method")
	case i.method == "CONNECT", i.method == "TRACE":
		return fmt.Errorf("http_method %s is not forwarded", i.method)
	}
	if c.GetReplace().GetUri() != "" {
		if err := m.compilePath(c.GetReplace().GetUri()); err != nil {
			return err
		}
	}
	for _, p := range []struct {
		rules    *rules
		replaced *configv1.StringArray
		of       onlyIn
	}{
		{&i.headers, c.GetReplace().GetHeaders(), (*pluginv1.TransformedRequest).GetHeaders},
		{&i.body, c.GetReplace().GetBody(), (*pluginv1.TransformedRequest).GetBody},
		{&i.query, c.GetReplace().GetQuerystring(), (*pluginv1.TransformedRequest).GetQuerystring},
	} {
		if *p.rules, err = m.compileRules(c, p.replaced, p.of); err != nil {
			return err
		}
	}
	if err := i.checkValues(i.headers.replace, i.headers.add, i.headers.append); err != nil {
		return err
	}
	return i.headers.checkHeaders()
}

// Access implements plugin.Accesser.
func (i *instance) Access(ex *exchange.Exchange, _ *plugin.Runtime) {
	w := i.works.Get().(*work)
	if refusal := i.transform(ex, w); refusal != nil {
		plugin.Refuse(ex, refusal)
	}
	w.reset()
	i.works.Put(w)
}

var (
	errPath     = &plugin.Refusal{Status: 400, Message: "Bad request"}
	errBody     = &plugin.Refusal{Status: 400, Message: "Cannot process request body"}
	errCoding   = &plugin.Refusal{Status: 415, Message: "Cannot process request body"}
	errTooLarge = &plugin.Refusal{Status: 413, Message: "Payload too large"}
	errNoRoom   = &plugin.Refusal{Status: 503, Message: "Service unavailable"}
	errSlowBody = &plugin.Refusal{Status: 408, Message: "Request timeout"}
)

func (i *instance) transform(ex *exchange.Exchange, w *work) *plugin.Refusal {
	i.fill(ex, w)
	if i.path >= 0 && !i.setPath(ex, w) {
		return errPath
	}
	if i.method != "" {
		if refusal := i.setMethod(ex, w); refusal != nil {
			return refusal
		}
	}
	if !i.changeHeaders(ex, w) {
		return errPath
	}
	if !i.body.empty() {
		if refusal := i.changeBody(ex, w); refusal != nil {
			return refusal
		}
	}
	if !i.query.empty() {
		w.parsePairs(ex, ex.Request.RawQuery)
		if w.apply(ex, &i.query) {
			w.setQuery(ex)
		}
	}
	return nil
}

func (w *work) setQuery(ex *exchange.Exchange) {
	ex.Request.RawQuery, ex.Request.HasQuery = exchange.View(w.encodePairs(ex)), len(w.pairs) > 0
}
