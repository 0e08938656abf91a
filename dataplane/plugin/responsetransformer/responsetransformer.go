// Package responsetransformer is the plugin response-transformer: it changes a response before it is sent.
//
// Everything is compiled once (rules.go). A JSON body is held in memory while it is changed (body.go).
package responsetransformer

import (
	"errors"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/jsonobject"
	"github.com/keepgate/keepgate/dataplane/plugin"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
)

const name = "response-transformer"

// Kind is the plugin.
type Kind struct{ objects *sync.Pool } // of *jsonobject.Object

// New makes the plugin.
func New() Kind { return Kind{&sync.Pool{New: func() any { return new(jsonobject.Object) }}} }

// Name implements plugin.Kind.
func (Kind) Name() string { return name }

// Priority implements plugin.Kind.
func (Kind) Priority() int { return 800 }

// New implements plugin.Kind.
func (k Kind) New(config []byte, _ plugin.Env) (any, error) {
	var c pluginv1.ResponseTransformer
	if err := proto.Unmarshal(config, &c); err != nil {
		return nil, errors.New("configuration cannot be decoded")
	}
	headers, err := compileHeaders(&c)
	if err != nil {
		return nil, err
	}
	json, err := compileJSON(&c)
	if err != nil {
		return nil, err
	}
	if json.empty() {
		return &instance{headers}, nil
	}
	return &changing{instance{headers}, json, k.objects}, nil
}

// instance is one configuration that leaves bodies alone.
type instance struct{ headers rules }

// Response implements plugin.Responder.
func (i *instance) Response(ex *exchange.Exchange, _ *plugin.Runtime) {
	i.changeHeaders(&ex.Response.Header)
}

func (i *instance) changeHeaders(header *exchange.Header) {
	r := &i.headers
	for _, name := range r.remove {
		header.Del(name)
	}
	for _, one := range r.rename {
		if exchange.EqualFold(one.from, one.to) || !header.Has(one.from) {
			continue
		}
		header.Del(one.to)
		for n, count := 0, header.Len(); n < count; n++ {
			if f := header.At(n); exchange.EqualFold(f.Name, one.from) {
				header.AddParsed(one.to, f.Value)
			}
		}
		header.Del(one.from)
	}
	for _, a := range r.replace {
		if header.Has(a.name) {
			header.Set(a.name, a.text)
		}
	}
	for _, a := range r.add {
		if !header.Has(a.name) {
			header.Add(a.name, a.text)
		}
	}
	for _, a := range r.append {
		header.Add(a.name, a.text)
	}
}
