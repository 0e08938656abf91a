package logrecord

import (
	"bytes"
	"encoding/json"
	"slices"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/plugin"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
)

// Entities are the routes, services and consumers of one table as records show them. A nil one knows none. It is what a
// log plugin keeps as its store, see [Describer].
type Entities struct{ routes, services, consumers map[string]*described }

// described is an entity and, once it was shown, its JSON.
type described struct {
	message proto.Message
	entity  *schema.Entity
	schema  *schema.Schema
	text    atomic.Pointer[[]byte]
}

// Describer makes the Entities of table after table and remembers what did not change. It implements the part of
// plugin.Keeper that a log plugin needs. One goroutine uses it at a time.
type Describer struct {
	plugin string
	schema *schema.Schema // made when first needed
	last   *Entities
}

// NewDescriber makes a Describer for the plugin of that name.
func NewDescriber(plugin string) *Describer { return &Describer{plugin: plugin} }

// Tables implements plugin.Keeper.
func (*Describer) Tables() []string { return []string{"plugins", "routes", "services", "consumers"} }

// Store implements plugin.Keeper. Where no entity configures the plugin it costs a look at each of them.
func (d *Describer) Store(entities plugin.Entities, _ *plugin.Consumers, _ func(table, id, name, reason string)) any {
	if !d.used(entities) {
		d.last = nil
		return (*Entities)(nil)
	}
	if d.schema == nil {
		d.schema = schema.New(plugins.All())
	}
	last := d.last
	if last == nil {
		last = &Entities{}
	}
	d.last = &Entities{
		routes: d.describe(entities, "routes", last.routes), services: d.describe(entities, "services", last.services),
		consumers: d.describe(entities, "consumers", last.consumers),
	}
	return d.last
}

func (d *Describer) used(entities plugin.Entities) bool {
	for _, message := range entities("plugins") {
		if p, ok := message.(*configv1.Plugin); ok && p.GetName() == d.plugin {
			return true
		}
	}
	return false
}

func (d *Describer) describe(entities plugin.Entities, table string, last map[string]*described) map[string]*described {
	entity, _ := d.schema.Entity(table)
	now := make(map[string]*described, len(last))
	for id, message := range entities(table) {
		if old := last[id]; old != nil && old.message == message {
			now[id] = old
			continue
		}
		now[id] = &described{message: message, entity: entity, schema: d.schema}
	}
	return now
}

// json returns the entity as the Admin API shows it, but for members that are null or secret.
func (d *described) json() []byte {
	if d == nil {
		return nil
	}
	if text := d.text.Load(); text != nil {
		return *text
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(d.schema.Encode(d.entity, d.message), &members); err != nil {
		return nil
	}
	for name, value := range members {
		if f := d.entity.Field(name); bytes.Equal(value, []byte("null")) || f == nil || f.Encrypted {
			delete(members, name)
		}
	}
	text, err := json.Marshal(members)
	if err != nil {
		return nil
	}
	text = slices.Clip(text)
	d.text.Store(&text)
	return text
}

func (e *Entities) route(n Named) []byte {
	if e == nil {
		return nil
	}
	id, _ := n.Identity()
	return e.routes[id].json()
}

func (e *Entities) service(n Named) []byte {
	if e == nil {
		return nil
	}
	id, _ := n.Identity()
	return e.services[id].json()
}

func (e *Entities) consumer(id string) []byte {
	if e == nil {
		return nil
	}
	return e.consumers[id].json()
}
