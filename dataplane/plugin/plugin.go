// Package plugin says what a plugin is: a [Kind] compiles configurations into instances, and an instance
// takes part in the phases whose interface it implements.
//
// Which instance a request meets follows Kong: of every plugin at most one instance runs, the one with the
// most specific scope (see [Plan]), and plugins run in the order of their priorities, high first. A plugin
// that no scope of a route names costs the route nothing. A request that matches no route meets those for all routes once it
// is answered: in the response and the log phase.
//
// What plugins look up beside their configuration, consumers and credentials, is in the [Runtime] of the
// table, so that a changed credential recompiles no instance. The list of kinds is in plugin/all.
package plugin

import (
	"context"
	"errors"
	"io"
	"iter"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/kvm"
)

// Kind is one plugin.
type Kind interface {
	Name() string
	// Priority places the plugin among others: higher runs first.
	Priority() int
	// New compiles one configuration, the bytes of the plugin's message in keepgate.plugin.v1. The result
	// implements at least one phase. It must not keep config.
	New(config []byte, env Env) (any, error)
}

// Keeper is a Kind whose instances look things up that are entities of their own.
type Keeper interface {
	Kind
	// Tables names the entities that Store is made of.
	Tables() []string
	// Store builds what the instances find in [Runtime.Store]. Entities that cannot be used are reported;
	// the others work.
	Store(entities Entities, consumers *Consumers, report func(table, id, name, reason string)) any
}

// Entities visits the entities of one table in the order of their ids.
type Entities func(table string) iter.Seq2[string, proto.Message]

// Cautious is a Keeper for whom an entity that cannot be read must not be as if it were not there: somebody may be kept
// out by it.
type Cautious interface {
	Keeper
	// Lose tells a store that was just made of an entity that cannot be decoded.
	Lose(store any, lost Lost)
}

// Placed is a Keeper that wants to know whose store it has made.
type Placed interface {
	Keeper
	// Place is told the workspace of a store when the store is complete, before a table with it serves.
	Place(store any, workspace string)
}

// Lost is what could be read of an entity that cannot be decoded.
type Lost struct {
	Table, ID string
	Message   proto.Message                          // with those of the fields that could be
	Sure      func(fields ...protoreflect.Name) bool // the message holds all that these fields ever held
}

// Env is what a configuration is compiled for.
type Env struct {
	ID        string // of the plugin's entity: it stays when the configuration changes
	Workspace string // that the entity belongs to; "" when nobody can tell
	Created   int64  // when the entity was made: another one may get the id of one that was deleted
	Slot      int    // the number of the plugin's slot in an exchange
	Store     int    // the number of the plugin's store in a Runtime
	// Resolve looks a reference up that stands within a text of the configuration; see [Env.Lookup]. What is a
	// reference as a whole, in a field that takes one, has been put in before New.
	Resolve func(reference string) (string, error)
}

// Lookup returns the value that a reference stands for: {vault://…} or {kvm://…}. It is for New alone, never waits, and
// what was looked up makes the instance anew when it changes.
func (e Env) Lookup(reference string) (string, error) {
	if e.Resolve == nil {
		return "", errNoReferences
	}
	return e.Resolve(reference)
}

var errNoReferences = errors.New("a reference cannot be resolved here")

// Certifier is an instance that looks at clients' certificates. Handshakes ask for them where it may run.
type Certifier interface{ ClientCertificates() ClientCertificates }

// ClientCertificates is what a handshake asks a client for.
type ClientCertificates struct {
	Authorities []string // ids of CA certificates
	Names       bool     // the request names them
}

// Runner is a Kind with work of its own beside requests. Run is called once, and returns when ctx ends.
type Runner interface {
	Kind
	Run(ctx context.Context) error
}

// Reopener is a Kind with files that are opened anew after they were moved away.
type Reopener interface {
	Kind
	Reopen() error
}

// Accesser sees a request before it is forwarded. It may change the request, and ends the chain by answering:
// with [Refuse] or [exchange.Exchange.Answer].
type Accesser interface {
	Access(ex *exchange.Exchange, on *Runtime)
}

// Responder sees the head of a response before it is sent, whoever made it.
type Responder interface {
	Response(ex *exchange.Exchange, on *Runtime)
}

// Bodier wraps the body of an upstream's response. It keeps or clears Response.ContentLength itself.
type Bodier interface {
	Body(ex *exchange.Exchange, on *Runtime, body io.ReadCloser) io.ReadCloser
}

// Lacker is an instance that may lack what it looks things up in. It works all the same, which an operator may not see.
type Lacker interface {
	// Lacks says what is not there, "" when nothing is missing.
	Lacks(on *Runtime) string
}

// Logger is told when everything is done. It must not block, and keeps no view of the exchange.
type Logger interface {
	Log(ex *exchange.Exchange, on *Runtime)
}

// Secretive is an instance that takes secrets from headers or query parameters, or writes some there for the upstream; logs
// show those as REDACTED.
type Secretive interface{ SecretParameters() []string }

// Runtime is what the plugins of one table share. It is read only.
type Runtime struct {
	Consumers *Consumers
	Maps      *kvm.Maps // of the workspace; nil: there are none
	Slots     int       // how many slots an exchange needs

	stores []any
	secret []string
}

// NewRuntime makes a Runtime with the stores by number.
func NewRuntime(consumers *Consumers, stores []any) Runtime {
	return Runtime{Consumers: consumers, Slots: firstPluginSlot + 2*len(stores), stores: stores}
}

// Store returns the store of a number from [Env], nil when there is none.
func (r *Runtime) Store(number int) any {
	if number >= len(r.stores) {
		return nil
	}
	return r.stores[number]
}

// Complete adds the names of query parameters that hold secrets. It is for the compiler, before the table is published.
func (r *Runtime) Complete(secret []string) { r.secret = secret }

// SecretParameters are the headers and query parameters that some plugin takes a secret from, or writes one to.
func (r *Runtime) SecretParameters() []string { return r.secret }

// Slots of an exchange: the refusal, one the proxy uses, then one for each plugin's own use, then one for
// each plugin's instance that access chose.
const (
	refusalSlot     = 0
	ProxySlot       = 1
	firstPluginSlot = 2
)

// SlotOf is the slot of the plugin with that number.
func SlotOf(number int) int { return firstPluginSlot + number }

// Refusal is an answer of the gateway whose body the proxy makes to the client's taste.
type Refusal struct {
	Status  int
	Message string
	// Body, when set, is the whole answer in compact JSON, where Kong does not use its template.
	Body []byte
	// Challenge, when set, is what WWW-Authenticate says of a 401 instead of the plugin's usual words; see [Authenticate].
	Challenge string
}

// Refuse answers with r. Headers may be set on the response besides.
func Refuse(ex *exchange.Exchange, r *Refusal) {
	if r.Body != nil {
		ex.Answer(r.Status, "application/json; charset=utf-8", r.Body)
	} else {
		ex.Answer(r.Status, "", nil)
	}
	ex.SetSlot(refusalSlot, r)
}

// RefusalOf returns the refusal that the exchange was answered with, or nil.
func RefusalOf(ex *exchange.Exchange) *Refusal {
	r, _ := ex.Slot(refusalSlot).(*Refusal)
	return r
}
