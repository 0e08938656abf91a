package app

import (
	"bytes"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/keepgate/keepgate/dataplane/compile"
	"github.com/keepgate/keepgate/dataplane/plugin"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	schemav1 "github.com/keepgate/keepgate/proto/keepgate/schema/v1"
	"github.com/keepgate/keepgate/shared/schema"
)

// withholding says what of a configuration is a secret, or useless without one, for a node whose lease has ended: routes
// stay, what would need a secret is closed.
type withholding struct {
	entities *schema.Schema
	checking map[string]bool // plugins that look secrets up
}

func newWithholding(entities *schema.Schema, kinds []plugin.Kind) *withholding {
	w := &withholding{entities, map[string]bool{}}
	for _, kind := range kinds {
		if keeper, ok := kind.(plugin.Keeper); ok {
			for _, table := range keeper.Tables() {
				w.checking[kind.Name()] = w.checking[kind.Name()] || w.secret(table)
			}
		}
	}
	return w
}

// secret says whether the entities of a table are sealed as secrets. Those that this build does not know are.
func (w *withholding) secret(table string) bool {
	entity, known := w.entities.Entity(table)
	return !known || entity.DataClass != schemav1.DataClass_DATA_CLASS_CONTRACT
}

// of is an entity without its secrets: only what says where it belongs is left of a secret; of a plugin that needs
// one, what says where it runs, and a configuration that holds none.
func (w *withholding) of(e compile.Entity) compile.Entity {
	switch {
	case e.Locked:
		return e
	case w.secret(e.Kind):
		e.Body = namesAlone(e.Body)
	case e.Kind == "plugins":
		body, needs := w.plugin(e.Body)
		if !needs {
			return e
		}
		e.Body = body
	default:
		return e
	}
	e.Locked, e.Withheld = true, true
	return e
}

// plugin says whether a plugin needs a secret, and is its entity without those in the configuration.
func (w *withholding) plugin(body []byte) (readable []byte, needs bool) {
	var m configv1.Plugin
	if proto.Unmarshal(body, &m) != nil {
		return body, false // it closes what it is for anyway
	}
	refers := w.refers(m.GetName(), m.GetConfig())
	if !w.checking[m.GetName()] && !refers {
		return body, false
	}
	if refers {
		m.Config = nil
	} // else it says which parameters hold secrets, that logs must not show
	readable, err := proto.MarshalOptions{Deterministic: true}.Marshal(&m)
	return readable, err == nil
}

// refers says whether a configuration holds a secret or refers to one.
func (w *withholding) refers(name string, config []byte) bool {
	if bytes.Contains(config, []byte("{vault://")) || bytes.Contains(config, []byte("{kvm://")) {
		return true
	}
	known, ok := w.entities.Plugin(name)
	if !ok {
		return false
	}
	m := known.Config.New()
	return proto.Unmarshal(config, m.Interface()) == nil && holdsSecret(m)
}

func holdsSecret(m protoreflect.Message) (found bool) {
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		marks, _ := proto.GetExtension(field.Options(), schemav1.E_Field).(*schemav1.Field)
		switch {
		case marks.GetEncrypted():
			found = true
		case field.Message() == nil || field.IsMap():
		case field.IsList():
			for i := range value.List().Len() {
				found = found || holdsSecret(value.List().Get(i).Message())
			}
		default:
			found = holdsSecret(value.Message())
		}
		return !found
	})
	return found
}

const (
	idField     = 1    // of every entity
	placedField = 2047 // keepgate.sync.v1.Placed
)

// namesAlone is of a body what names the entity and its workspace.
func namesAlone(body []byte) []byte {
	var left []byte
	for len(body) > 0 {
		number, _, n := protowire.ConsumeField(body)
		if n < 0 {
			return nil // it can be told to belong nowhere
		}
		if number == idField || number == placedField {
			left = append(left, body[:n]...)
		}
		body = body[n:]
	}
	return left
}
