package compile

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/keepgate/keepgate/dataplane/kvm"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
	"github.com/keepgate/keepgate/shared/secretref"
)

// Vaults are where {vault://…} references of this node lead. A compilation waits in Settle alone.
type Vaults interface {
	// Begin tells of the vault entities of a configuration, with their workspaces. What is asked for from now on is what the
	// configuration needs.
	Begin(vaults iter.Seq2[string, *configv1.Vault])
	// Fault says why the vault entity of that prefix cannot be used on this node, and which field of it is at fault; "" when it can.
	Fault(workspace, prefix string) string
	// Resolve returns what a reference by an entity of a workspace leads to, as far as that is known; it never waits. Errors
	// name no secret.
	Resolve(workspace string, r secretref.Reference) (string, error)
	// Settle waits for what was asked for and is not known yet, for a bounded time. It returns whether asking again is worth it.
	Settle() bool
	// End forgets what was not asked for since Begin.
	End()
}

// use is a reference that something was made of, and what it led to.
type use struct{ reference, value, fault string }

// lookups resolves references for one entity and notes them.
type lookups struct {
	run       *run
	workspace string
	at        kvm.Place
	uses      []use
}

// resolve returns what a reference leads to. It is of no use any more once the entity is made.
func (l *lookups) resolve(reference string) (string, error) {
	if l.run == nil {
		return "", errReference
	}
	value, err := l.run.resolve(l.workspace, l.at, reference)
	one := use{reference: reference, value: value}
	if err != nil {
		one.fault = err.Error()
	}
	l.uses = append(l.uses, one)
	return value, err
}

// all resolves what of the texts, which stand in these fields, is a reference. Each is asked for, also when one before it failed.
func (l *lookups) all(fields [4]string, texts []string) error {
	var first error
	for i, text := range texts {
		if !secretref.Meant(text) {
			continue
		}
		value, err := l.resolve(text)
		if first == nil && err != nil {
			first = fmt.Errorf("%s: %w", fields[i], err)
		}
		texts[i] = value
	}
	return first
}

// rest asks for whatever else a configuration refers to, once one reference of it failed: so that all are waited for at once.
func (l *lookups) rest(config []byte) {
	if len(l.uses) == 0 {
		return
	}
	asked := map[string]bool{}
	for _, one := range l.uses {
		asked[one.reference] = true
	}
	for part := range secretref.Cut(string(config)) { // texts lie in the bytes of a message as they are
		if part.IsReference() && !asked[part.Text] {
			asked[part.Text] = true
			_, _ = l.resolve(part.Text) // noted
		}
	}
}

// asBefore says whether all references lead where they did. It asks for every one of them, since what is not asked for is
// forgotten.
func (r *run) asBefore(workspace string, at kvm.Place, uses []use) bool {
	same := true
	for _, one := range uses {
		value, err := r.resolve(workspace, at, one.reference)
		fault := ""
		if err != nil {
			fault = err.Error()
		}
		same = same && value == one.value && fault == one.fault
	}
	return same
}

// maxLed bounds what the references of one workspace lead to in all: a few bytes of configuration refer to half a megabyte,
// any number of times.
const maxLed = 64 << 20

var errLed = errors.New("the references of its workspace lead to more than 64 MiB in all")

// resolve returns what a reference leads to, as long as there is room for it.
func (r *run) resolve(workspace string, at kvm.Place, text string) (string, error) {
	value, err := r.lead(workspace, at, text)
	if r.led[workspace] += len(value); err == nil && r.led[workspace] > maxLed {
		return "", errLed
	}
	return value, err
}

func (r *run) lead(workspace string, at kvm.Place, text string) (string, error) {
	reference, err := secretref.Parse(text)
	if err != nil {
		return "", err
	}
	if reference.Scheme == secretref.KVM {
		return r.mapped(workspace, at, reference)
	}
	if r.options.Vaults == nil {
		return "", errReference
	}
	return r.options.Vaults.Resolve(workspace, reference)
}

var errReference = errors.New("a reference cannot be resolved on this node")

func (r *run) mapped(workspace string, at kvm.Place, reference secretref.Reference) (string, error) {
	maps := r.mapsOf(workspace)
	value, state := maps.Look(reference.Place, reference.Secret, at)
	switch state {
	case kvm.Found:
		return value, nil
	case kvm.Unreadable:
		return "", fmt.Errorf("the key-value map %q or an entry of it cannot be read", reference.Place)
	}
	if !maps.Has(reference.Place) {
		return "", fmt.Errorf("there is no key-value map %q here", reference.Place)
	}
	return "", fmt.Errorf("the key-value map %q has no key %q", reference.Place, reference.Secret)
}

// mapsOf are the key-value maps of a workspace, made when they are asked for.
func (r *run) mapsOf(workspace string) *kvm.Maps {
	if made, ok := r.maps[workspace]; ok {
		return made
	}
	own := *r
	own.workspace = workspace
	made := kvm.New(messagesOf[*configv1.KeyValueMap](&own, "key_value_maps"), messagesOf[*configv1.KeyValueEntry](&own, "key_value_entries"))
	for _, kind := range kvm.Tables() {
		for _, e := range own.lost(kind) {
			s := e.parsed.(*salvaged)
			made.Lose(s.message, s.sure)
		}
	}
	r.maps[workspace] = made
	return made
}

func messagesOf[M any](r *run, kind string) iter.Seq[M] {
	return func(yield func(M) bool) {
		for _, e := range r.each(kind) {
			if m, ok := e.message.(M); ok && !yield(m) {
				return
			}
		}
	}
}

// beginReferences tells the vaults what the configuration has, and drops maps that have changed.
func (r *run) beginReferences() {
	if slices.ContainsFunc(kvm.Tables(), r.changed) {
		clear(r.maps)
	}
	if r.options.Vaults == nil {
		return
	}
	r.options.Vaults.Begin(func(yield func(string, *configv1.Vault) bool) {
		for _, e := range r.each("vaults") {
			if !yield(e.workspace, e.message.(*configv1.Vault)) {
				return
			}
		}
	})
	for _, e := range r.each("vaults") {
		prefix := e.message.(*configv1.Vault).GetPrefix()
		if fault := r.options.Vaults.Fault(e.workspace, prefix); fault != "" {
			r.report("vaults", e.id, prefix, fault)
		}
	}
}

// forgetMaps drops the maps of workspaces that are gone.
func (c *Compiler) forgetMaps(shares map[string]share) {
	maps.DeleteFunc(c.maps, func(workspace string, _ *kvm.Maps) bool {
		_, there := shares[workspace]
		return !there
	})
}

// placeOf is where the references of a plugin entity look from.
func (r *run) placeOf(id string, m *configv1.Plugin) kvm.Place {
	at := kvm.Place{Plugin: id, Route: m.GetRoute().GetId(), Service: m.GetService().GetId()}
	if at.Route != "" && at.Service == "" {
		if e := r.find("routes", at.Route); e != nil && e.message != nil {
			at.Service = e.message.(*configv1.Route).GetService().GetId()
		}
	}
	return at
}

// fieldsOf is what resolves the fields of configurations.
func fieldsOf(options Options) *schema.Schema {
	if options.Schema != nil {
		return options.Schema
	}
	return schema.New(plugins.All())
}
