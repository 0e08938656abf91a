// Package kvmlookup is the plugin kvm-lookup: it looks a value up in a key-value map and hands it to the upstream in a header.
//
// The maps of the workspace are in the Runtime, so that a changed entry recompiles no instance. Which of several maps with one
// name counts dataplane/kvm says. Where a key is taken from is in key.go.
package kvmlookup

import (
	"errors"
	"strconv"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/kvm"
	"github.com/keepgate/keepgate/dataplane/plugin"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
)

const name = "kvm-lookup"

// Kind is the plugin.
type Kind struct{ finders *sync.Pool } // of *finder

// New makes the plugin.
func New() Kind { return Kind{&sync.Pool{New: func() any { return newFinder() }}} }

// Name implements plugin.Kind.
func (Kind) Name() string { return name }

// Priority implements plugin.Kind.
func (Kind) Priority() int { return 805 }

// New implements plugin.Kind.
func (k Kind) New(config []byte, env plugin.Env) (any, error) {
	var c pluginv1.KvmLookup
	if err := proto.Unmarshal(config, &c); err != nil {
		return nil, errors.New("configuration cannot be decoded")
	}
	i := &instance{
		finders: k.finders, plugin: env.ID, maps: c.GetMap(), header: c.GetHeader(), missing: c.GetOnMissing(),
		otherwise: c.GetDefaultValue(), refusal: &plugin.Refusal{Status: int(c.GetErrorCode()), Message: c.GetErrorMessage()},
	}
	if err := i.check(); err != nil {
		return nil, err
	}
	var err error
	i.key, err = sourceOf(c.GetKeyFrom(), c.GetKeyName())
	return i, err
}

// What a request gets without an entry.
const (
	refuse       = "refuse"
	skip         = "skip"
	useOtherwise = "default"
)

func (i *instance) check() error {
	switch {
	case i.maps == "":
		return errors.New("map: none is named")
	case !exchange.ValidName(i.header):
		return errors.New("header is not the name of a header")
	case plugin.Reserved(i.header):
		return errors.New("header is one that the gateway itself speaks by")
	}
	switch i.missing {
	case refuse:
		if i.refusal.Status < 400 || i.refusal.Status > 599 {
			return errors.New("error_code is no status of a refusal")
		}
	case skip:
	case useOtherwise:
		if i.otherwise == "" || !exchange.ValidValue(i.otherwise) {
			return errors.New("default_value is none that a header can hold")
		}
	default:
		return errors.New("on_missing is not known")
	}
	return nil
}

// instance is one configuration.
type instance struct {
	finders      *sync.Pool
	plugin       string // id of the entity
	maps, header string // the maps' name; the upstream's header
	key          source
	missing      string
	otherwise    string
	refusal      *plugin.Refusal
}

// identified tells what a matched route or service is called; those of dataplane/table do.
type identified interface{ Identity() (id, name string) }

func idOf(matched any) string {
	if one, ok := matched.(identified); ok {
		id, _ := one.Identity()
		return id
	}
	return ""
}

// Lacks implements plugin.Lacker. A map may come later, so that its keys are missing until then.
func (i *instance) Lacks(on *plugin.Runtime) string {
	if on.Maps.Has(i.maps) {
		return ""
	}
	return "config.map: there is no key-value map " + strconv.Quote(i.maps) + " here: all its keys are missing"
}

// SecretParameters implements plugin.Secretive: what a map holds is secret, in a log of requests too.
func (i *instance) SecretParameters() []string { return []string{i.header} }

// Access implements plugin.Accesser.
func (i *instance) Access(ex *exchange.Exchange, on *plugin.Runtime) {
	value, state := "", kvm.Missing
	if key := i.keyOf(ex); key != "" {
		value, state = on.Maps.Look(i.maps, key, kvm.Place{Plugin: i.plugin, Route: idOf(ex.Route), Service: idOf(ex.Service)})
	}
	ex.Request.Header.DelLoose(i.header) // only now: the key may be in it
	if state == kvm.Missing {
		switch i.missing {
		case refuse:
			plugin.Refuse(ex, i.refusal)
			return
		case skip:
			return
		}
		value = i.otherwise
	}
	if state == kvm.Unreadable || !exchange.ValidValue(value) {
		plugin.Refuse(ex, plugin.Quarantined())
		return
	}
	ex.Request.Header.Set(i.header, value)
	ex.Rewritten.Looked = value
}
