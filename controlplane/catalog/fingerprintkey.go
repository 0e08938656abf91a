package catalog

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/record"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/fault"
)

const (
	fieldFingerprintKey         = "fingerprint_key"
	fieldPreviousFingerprintKey = "previous_fingerprint_key"
	fingerprintKeySize          = 32
	formerKeys                  = 16 // names of lost fingerprint keys that are remembered
)

// newFingerprintKey gives an environment the key under which its data planes get key-auth keys. The name of the one
// before stays: data planes need that for credentials which do not open either and keep their last form.
func newFingerprintKey(m proto.Message) {
	environment, ok := m.(*configv1.Environment)
	if !ok {
		return // there is no other kind of environment
	}
	if id := environment.GetFingerprintKeyId(); id != "" {
		rememberKey(environment, id)
	}
	giveFingerprintKey(environment)
}

func giveFingerprintKey(environment *configv1.Environment) {
	key := make([]byte, fingerprintKeySize)
	rand.Read(key) // never fails: crypto/rand ends the process instead
	environment.FingerprintKey = new(base64.StdEncoding.EncodeToString(key))
	environment.FingerprintKeyId = new(uuid.NewString())
}

// rememberKey notes the name of a key that nobody has any more.
func rememberKey(environment *configv1.Environment, id string) {
	former := append([]string{id}, environment.GetFormerFingerprintKeyIds().GetValues()...)
	environment.FormerFingerprintKeyIds = &configv1.StringArray{Values: former[:min(len(former), formerKeys)]}
}

// RotateFingerprintKey gives an environment another fingerprint key. The one before stays beside it until
// [Catalog.DropPreviousFingerprintKey]; while one does, it is a [Problem] to ask for a further one.
func (c *Catalog) RotateFingerprintKey(ctx context.Context, environment string) error {
	const op = "RotateFingerprintKey"
	return c.changeEnvironment(ctx, op, environment, func(m *configv1.Environment) (bool, error) {
		if m.PreviousFingerprintKeyId != nil {
			return false, violation(fieldFingerprintKey, "the key is being changed already: not every data plane has the new one yet").fault(op, subject(tableEnvironments, environment))
		}
		m.PreviousFingerprintKey, m.PreviousFingerprintKeyId = m.FingerprintKey, new(m.GetFingerprintKeyId())
		giveFingerprintKey(m)
		return true, nil
	})
}

// DropPreviousFingerprintKey ends a change of an environment's fingerprint key: the previous one of that name goes. It
// is no change when that is gone already.
func (c *Catalog) DropPreviousFingerprintKey(ctx context.Context, environment, id string) error {
	return c.changeEnvironment(ctx, "DropPreviousFingerprintKey", environment, func(m *configv1.Environment) (bool, error) {
		if m.PreviousFingerprintKeyId == nil || m.GetPreviousFingerprintKeyId() != id {
			return false, nil
		}
		m.PreviousFingerprintKey, m.PreviousFingerprintKeyId = nil, nil
		return true, nil
	})
}

// changeEnvironment changes what no client may write of an environment, by compare-and-set.
func (c *Catalog) changeEnvironment(ctx context.Context, op, name string, change func(*configv1.Environment) (changed bool, err error)) error {
	e, err := c.entity(op, tableEnvironments)
	if err != nil {
		return err
	}
	for attempt := range attempts {
		row, err := c.find(ctx, op, e, "", name, nil)
		if err != nil {
			return err
		}
		o, err := c.open(row)
		if err != nil {
			return err
		}
		if o.err != nil {
			return fmt.Errorf("opening environment %q: %w", name, o.err)
		}
		m, ok := o.message.(*configv1.Environment)
		if !ok {
			return fault.Newf(fault.Internal, "catalog."+op, subject(row.Table, row.ID), "it is no environment")
		}
		changed, err := change(m)
		if err != nil || !changed {
			return err
		}
		sealed, err := c.seal(e, row.Workspace, m)
		if err != nil {
			return err
		}
		_, err = c.store.Apply(ctx, record.Batch{Changes: []record.Change{{Row: sealed, Expect: row.Generation}}})
		if !raced(err) {
			return err
		}
		if err = again(ctx, err, attempt, attempts); err != nil {
			return err
		}
	}
	return fault.Newf(fault.Conflict, "catalog."+op, subject(tableEnvironments, name), "others keep changing it")
}

// refreshFingerprintKeys makes keys anew that are lost, and seals stale ones again. What only cannot be opened now stays
// as it is.
func (c *Catalog) refreshFingerprintKeys(ctx context.Context) error {
	rows, err := c.store.List(ctx, record.Query{Table: tableEnvironments})
	if err != nil {
		return fmt.Errorf("reading environments: %w", err)
	}
	for _, row := range rows {
		err := c.refreshFingerprintKey(ctx, row)
		if fault.KindOf(err) == fault.Unavailable { // the key that writes is missing: what there is serves on
			c.options.Log.WarnContext(ctx, "an environment's fingerprint key is not sealed anew yet", "environment", row.Unique["name"], "cause", err.Error())
			continue
		}
		if err != nil {
			return fmt.Errorf("renewing the fingerprint key of environment %q: %w", row.Unique["name"], err)
		}
	}
	return nil
}

func (c *Catalog) refreshFingerprintKey(ctx context.Context, row record.Row) error {
	o, err := c.open(row)
	if err != nil {
		return err
	}
	m, ok := o.message.(*configv1.Environment)
	if !ok {
		return nil // there is no other kind of environment
	}
	batch, lost := record.Batch{}, false
	if c.fingerprintKeyLost(o, m.GetFingerprintKey(), row.Sealed[fieldFingerprintKey]) {
		newFingerprintKey(m)
		lost = true
	}
	if m.PreviousFingerprintKeyId != nil && c.fingerprintKeyLost(o, m.GetPreviousFingerprintKey(), row.Sealed[fieldPreviousFingerprintKey]) {
		rememberKey(m, m.GetPreviousFingerprintKeyId())
		m.PreviousFingerprintKey, m.PreviousFingerprintKeyId = nil, nil
		lost = true
	}
	switch {
	case lost && m.FingerprintKey == nil, lost && m.PreviousFingerprintKeyId != nil && m.PreviousFingerprintKey == nil:
		return nil // the other one is only away: nothing may be written over it
	case lost:
	case o.err == nil && o.stale:
		batch.Silent = true
	default:
		return nil
	}
	e, err := c.entity("Start", tableEnvironments)
	if err != nil {
		return err
	}
	sealed, err := c.seal(e, row.Workspace, m)
	if err != nil {
		return err
	}
	batch.Changes = []record.Change{{Row: sealed, Expect: row.Generation}}
	if _, err = c.store.Apply(ctx, batch); raced(err) { // another node did
		return nil
	}
	return err
}

// fingerprintKeyLost reports whether a key that is stored as a text is gone for good or damaged; plaintext is what was
// opened of it.
func (c *Catalog) fingerprintKeyLost(o *opened, plaintext, stored string) bool {
	if plaintext != "" {
		return false
	}
	if c.cipher.Lost(stored) {
		return true
	}
	// It is not damaged where this node is only not told to read what others write in clear.
	return fault.KindOf(o.err) == fault.Corrupt && !wholeInClear(stored)
}

// wholeInClear reports whether a stored text is a fingerprint key that nothing seals.
func wholeInClear(stored string) bool {
	key, err := base64.StdEncoding.DecodeString(stored)
	return err == nil && len(key) == fingerprintKeySize
}
