package wire

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/publish/selection"
	"github.com/keepgate/keepgate/controlplane/record"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/configset"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/schema"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/verifier"
)

// DefaultEnvironment is the environment that exists without being made.
const DefaultEnvironment = "default"

// Environment is an environment as the database has it: what it selects, and the keys that its data planes are given.
type Environment struct {
	Selects selection.Environment
	Row     record.Ref // no ID: there is none yet
	Locked  error      // why one of its keys does not open

	current  fingerprintKey
	previous fingerprintKey // while data planes change over to current; no entry.ID else
	former   []string       // names of keys before them that were lost
}

// Key names the fingerprint key, and the one before it while data planes change over, else "".
func (e *Environment) Key() (current, previous string) {
	return e.current.entry.ID, e.previous.entry.ID
}

// fingerprintKey is a key under which API keys leave as fingerprints.
type fingerprintKey struct {
	entry   configset.Entry         // carries it; no row stands for it. No ID: there is no such key
	printer *verifier.Fingerprinter // of key-auth keys; nil: it does not open
}

// New finds the environments among the rows and opens their keys. A key that does not open is no error; environments
// that cannot be read at all are named in lost.
func New(ctx context.Context, from Catalog, entities *schema.Schema, rows []record.Row) (w *Wire, lost []string, err error) {
	w = &Wire{catalog: from, schema: entities}
	workspaces, standard := map[string]string{}, false
	for _, row := range rows {
		if row.Table == tableWorkspaces {
			workspaces[row.Unique["name"]] = row.ID
		}
	}
	w.Home = workspaces[catalog.DefaultName]
	for _, row := range rows {
		if row.Table != tableEnvironments {
			continue
		}
		standard = standard || row.Unique["name"] == DefaultEnvironment
		opened, err := from.Open(ctx, row)
		environment, ok := opened.(*configv1.Environment)
		if !ok {
			lost = append(lost, row.Unique["name"])
			continue
		}
		e, err := keysOf(environment, row, err)
		if err != nil {
			return nil, nil, err
		}
		w.selectFor(e, environment, workspaces)
		w.Environments = append(w.Environments, e)
	}
	if !standard {
		w.Environments = append(w.Environments, &Environment{
			Selects: selection.Environment{Name: DefaultEnvironment},
			Locked:  fault.Newf(fault.Unavailable, "publish", "environment/"+DefaultEnvironment, "there is no such environment yet"),
		})
	}
	slices.SortFunc(w.Environments, func(a, b *Environment) int { return strings.Compare(a.Selects.Name, b.Selects.Name) })
	return w, lost, nil
}

// keysOf reads the keys of an environment, which did not open for the reason given, if any.
func keysOf(environment *configv1.Environment, row record.Row, why error) (e *Environment, err error) {
	e = &Environment{Row: record.Ref{Table: row.Table, Workspace: row.Workspace, ID: row.ID}, Locked: why, former: environment.GetFormerFingerprintKeyIds().GetValues()}
	e.Selects.ID = row.ID
	e.current, err = fingerprintKeyOf(cmp.Or(environment.GetFingerprintKeyId(), environment.GetId()), environment.GetFingerprintKey())
	if err == nil && environment.GetPreviousFingerprintKeyId() != "" {
		e.previous, err = fingerprintKeyOf(environment.GetPreviousFingerprintKeyId(), environment.GetPreviousFingerprintKey())
	}
	if err != nil {
		return nil, fmt.Errorf("the fingerprint key of environment %q: %w", environment.GetName(), err)
	}
	if e.Locked == nil && e.current.printer == nil {
		e.Locked = fault.Newf(fault.Unavailable, "publish", "environment/"+environment.GetName(), "it has no fingerprint key")
	}
	return e, nil
}

func fingerprintKeyOf(id, text string) (fingerprintKey, error) {
	k := fingerprintKey{entry: configset.Entry{Kind: FingerprintKeys, ID: id, Kept: text == ""}}
	if text == "" {
		return k, nil
	}
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(key) != 32 {
		return k, fmt.Errorf("it is not 32 bytes in base64")
	}
	k.entry.Body, err = proto.MarshalOptions{Deterministic: true}.Marshal(&configv1.FingerprintKey{Id: id, Key: key})
	if err != nil {
		return k, fmt.Errorf("encoding it: %w", err)
	}
	k.printer = verifier.NewFingerprinter(secret.Take(key)).For(tableKeyauth, "key")
	return k, nil
}

// selectFor reads what an environment selects.
func (w *Wire) selectFor(e *Environment, environment *configv1.Environment, workspaces map[string]string) {
	e.Selects.Name = environment.GetName()
	if environment.Workspaces != nil {
		e.Selects.Workspaces = []string{}
		for _, name := range environment.GetWorkspaces().GetValues() {
			if id, found := workspaces[name]; found {
				e.Selects.Workspaces = append(e.Selects.Workspaces, id)
			} else {
				w.Incomplete = true
			}
		}
	}
	if environment.SelectTags != nil {
		e.Selects.Tags = append([]string{}, environment.GetSelectTags().GetValues()...)
	}
}

// Entries are those that no row stands for. Names of lost keys are among them as long as they may be needed.
func (e *Environment) Entries(former bool) (list []configset.Entry) {
	for _, k := range [...]fingerprintKey{e.current, e.previous} {
		if k.entry.ID != "" {
			list = append(list, k.entry)
		}
	}
	if former {
		for _, id := range e.former {
			list = append(list, configset.Entry{Kind: FingerprintKeys, ID: id, Kept: true})
		}
	}
	return list
}

// Concerns reports whether a changed row changes what all others come to.
func (w *Wire) Concerns(ref record.Ref) bool { return ref.Table == tableEnvironments }

// Rows gives one row; record.Store says what its method promises.
type Rows interface {
	Get(ctx context.Context, table, workspace, id string) (record.Row, error)
}

// Opens reports whether a key that did not open does by now.
func (w *Wire) Opens(ctx context.Context, store Rows) bool {
	for _, e := range w.Environments {
		if e.Locked == nil || e.Row.ID == "" { // a revision tells when it is made
			continue
		}
		row, err := store.Get(ctx, e.Row.Table, e.Row.Workspace, e.Row.ID)
		if err != nil {
			return false
		}
		if _, err = w.catalog.Open(ctx, row); err == nil {
			return true
		}
	}
	return false
}

// Locked reports whether some environment's key does not open.
func (w *Wire) Locked() bool {
	return slices.ContainsFunc(w.Environments, func(e *Environment) bool { return e.Locked != nil })
}
