package plugin

import (
	"math"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// Instance is one compiled plugin entity.
type Instance struct {
	name     string
	number   int
	priority int

	access   Accesser
	response Responder
	body     Bodier
	log      Logger
	secret   []string
	certs    *ClientCertificates
	lacker   Lacker

	protocols Protocols // it is there for; 0: all
}

// NewInstance takes what a Kind made of a configuration. number is the plugin's, from 0.
func NewInstance(kind Kind, number int, compiled any) *Instance {
	i := &Instance{name: kind.Name(), number: number, priority: kind.Priority()}
	i.access, _ = compiled.(Accesser)
	i.response, _ = compiled.(Responder)
	i.body, _ = compiled.(Bodier)
	i.log, _ = compiled.(Logger)
	i.lacker, _ = compiled.(Lacker)
	if secretive, ok := compiled.(Secretive); ok {
		i.secret = secretive.SecretParameters()
	}
	if certifier, ok := compiled.(Certifier); ok {
		asked := certifier.ClientCertificates()
		i.certs = &asked
	}
	return i
}

// NewBroken makes the instance that stands for an entity which cannot be used: every request that it would
// have run for is refused. kind is nil for an unknown plugin, which then runs before all others, or, should
// it depend on the consumer, after all.
func NewBroken(name string, kind Kind, number int, dependsOnConsumer bool) *Instance {
	i := &Instance{name: name, number: number, access: broken{}}
	switch {
	case kind != nil:
		i.priority = kind.Priority()
	case dependsOnConsumer:
		i.number, i.priority = -1, math.MinInt
	default:
		i.number, i.priority = -1, math.MaxInt
	}
	return i
}

// Restrict leaves an instance out of requests that come over other protocols than these: they go by the next less specific
// one. It is for the compiler, before the table is published.
func (i *Instance) Restrict(to Protocols) { i.protocols = to }

func (i *Instance) speaks(protocol Protocols) bool {
	return i.protocols == 0 || i.protocols&protocol != 0
}

// Name is the plugin's name.
func (i *Instance) Name() string { return i.name }

// SecretParameters are the headers and query parameters that the instance takes secrets from, or writes them to.
func (i *Instance) SecretParameters() []string { return i.secret }

// Lacks says what the instance does not find in its workspace, "" when nothing is missing.
func (i *Instance) Lacks(on *Runtime) string {
	if i.lacker == nil {
		return ""
	}
	return i.lacker.Lacks(on)
}

// ClientCertificates is what the instance wants of handshakes, nil for nothing.
func (i *Instance) ClientCertificates() *ClientCertificates { return i.certs }

// broken fails closed.
type broken struct{}

// Quarantined is what a request gets whose route cannot be used as configured.
func Quarantined() *Refusal { return quarantined }

var quarantined = &Refusal{Status: 503, Message: "The configuration of this route cannot be used"}

func (broken) Access(ex *exchange.Exchange, _ *Runtime) { Refuse(ex, quarantined) }
