// Package correlationid is the plugin correlation-id: it names each request in a header, so that the
// records which several systems make of one request can be put together.
//
// Names are unique, not secret: the upstream, logs and, when asked for, the client see them. They come from
// the runtime's ChaCha8 generator (math/rand/v2), which is seeded by the system and makes no system call for a request.
package correlationid

import (
	"errors"
	"os"
	"strconv"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
)

const (
	name          = "correlation-id"
	defaultHeader = "Kong-Request-ID"
)

// Kind is the plugin.
type Kind struct{ process *process }

// process is what all instances share.
type process struct {
	uuid    string // of uuid#counter
	pid     string // of tracker
	counter atomic.Uint64
	carried sync.Pool // of *carried
}

// New makes the plugin.
func New() Kind {
	uuid := appendUUID(nil)
	return Kind{&process{
		uuid: string(uuid) + "#", pid: "-" + strconv.Itoa(os.Getpid()) + "-",
		carried: sync.Pool{New: func() any { return new(carried) }},
	}}
}

// Name implements plugin.Kind.
func (Kind) Name() string { return name }

// Priority implements plugin.Kind.
func (Kind) Priority() int { return 100001 }

// New implements plugin.Kind.
func (k Kind) New(config []byte, env plugin.Env) (any, error) {
	var c pluginv1.CorrelationId
	if err := proto.Unmarshal(config, &c); err != nil {
		return nil, errors.New("configuration cannot be decoded")
	}
	i := instance{process: k.process, slot: env.Slot, header: defaultHeader, make: (*process).counted}
	if c.HeaderName != nil {
		i.header = c.GetHeaderName()
	}
	if !exchange.ValidName(i.header) {
		return nil, errors.New("header_name is not the name of a header")
	}
	if plugin.Reserved(i.header) {
		return nil, errors.New("header_name is a header that the gateway itself speaks by")
	}
	switch c.GetGenerator() {
	case "", "uuid#counter":
	case "uuid":
		i.make = (*process).random
	case "tracker":
		i.make = (*process).tracker
	default:
		return nil, errors.New("generator is not known")
	}
	if c.GetEchoDownstream() {
		return &echoing{i}, nil
	}
	return &i, nil
}

// instance is one configuration that tells the upstream alone.
type instance struct {
	process *process
	slot    int
	header  string
	make    func(*process, *exchange.Exchange) string
}

// Access implements plugin.Accesser.
func (i *instance) Access(ex *exchange.Exchange, _ *plugin.Runtime) { i.assign(ex) }

// assign returns the request's name: what the client calls it, or a new one.
func (i *instance) assign(ex *exchange.Exchange) string {
	if given := ex.Request.Header.Get(i.header); given != "" {
		return given
	}
	id := i.make(i.process, ex)
	ex.Request.Header.Set(i.header, id)
	return id
}

// echoing is one configuration that tells the client too.
type echoing struct{ instance }

// carried takes a name from the access to the response phase: the header itself may be gone by then.
type carried struct{ id string }

// Access implements plugin.Accesser.
func (i *echoing) Access(ex *exchange.Exchange, _ *plugin.Runtime) {
	c := i.process.carried.Get().(*carried)
	c.id = i.assign(ex)
	ex.SetSlot(i.slot, c)
}

// Response implements plugin.Responder.
func (i *echoing) Response(ex *exchange.Exchange, _ *plugin.Runtime) {
	c, ok := ex.Slot(i.slot).(*carried)
	if !ok { // refused before our turn: the client's own name, if it gave one, still helps
		if given := ex.Request.Header.Get(i.header); given != "" {
			ex.Response.Header.Set(i.header, given)
		}
		return
	}
	ex.Response.Header.Set(i.header, c.id)
	ex.SetSlot(i.slot, nil)
	c.id = ""
	i.process.carried.Put(c)
}
