package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/keepgate/keepgate/dataplane/edgekeys"
	"github.com/keepgate/keepgate/dataplane/localstore"
	"github.com/keepgate/keepgate/shared/localkeys"
	"github.com/keepgate/keepgate/shared/localkeys/scopedkeys"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/settings/dpsettings"
)

// scoped are the keys of this node, and how they follow what the settings lead to.
type scoped struct {
	*edgekeys.Keys
	sources scopedkeys.Sources
	opener  scopedkeys.Opener
	who     scopedkeys.Who
	asked   chan struct{}

	changing sync.Mutex // held while keys are changed, and what they seal is written again
	pending  bool       // something may not be written again; guarded by changing

	mu       sync.Mutex
	hash     string // of the sources in force; guarded by mu
	tried    string // of the sources that were looked at last; guarded by mu
	taken    time.Time
	problem  string // why the sources as they lie there are not in force, or why something is not written again; guarded by mu
	warnings []string
	changes  uint64
	refusals uint64
	over     bool   // this node was shut out; guarded by mu
	ownKey   ownKey // guarded by mu
}

// openKeys reads the keys that the settings lead to. A node does not start with some of them: what it would write meanwhile
// would lie under other keys than its operator believes.
func openKeys(s dpsettings.DataPlane, source *mtls.Source, others []string, log *slog.Logger) (*scoped, error) {
	own, err := storeKeys(source, append(others, previousKeys(s.Cluster)...))
	if err != nil {
		return nil, err
	}
	root, err := source.DeriveKey(storeKeyLabel, 32)
	if err != nil {
		return nil, err
	}
	identity := source.Identity()
	k := &scoped{
		ownKey:  ownKey{roots: []secret.Bytes{root}},
		sources: edgekeys.SourcesOf(s.Keys), opener: edgekeys.NewOpener(s), asked: make(chan struct{}, 1),
		who: scopedkeys.Who{Organisation: identity.Organisation, Environment: identity.Environment}, pending: true,
	}
	k.hash = k.sources.Hash()
	choice, err := k.choose(context.Background()) // each service that opens keys has its own timeout
	if err != nil {
		return nil, fmt.Errorf("the scoped keys: %w", err)
	}
	k.tried, k.taken, k.warnings = k.hash, time.Now(), choice.Warnings
	for _, warning := range choice.Warnings {
		log.Warn("a scoped key", "warning", warning)
	}
	if s.Store.Encryption == string(localstore.Off) && len(choice.Chosen) > 0 {
		log.Warn("scoped keys are given, and the local store is not sealed by them: declarative_config_encryption_mode is off")
	}
	k.Keys = edgekeys.New(own, choice, k.opener, log)
	return k, nil
}

func (k *scoped) choose(ctx context.Context) (*scopedkeys.Choice, error) {
	read, err := k.sources.Read()
	if err != nil {
		return nil, err
	}
	return read.Choose(ctx, k.who, k.opener)
}

// take puts other scoped keys into use. Those before are remembered first, then all is written again.
func (p *plane) take(choice *scopedkeys.Choice) error {
	k := p.keys
	k.changing.Lock()
	defer k.changing.Unlock()
	if k.isOver() {
		return errKeysOver
	}
	undo := k.Change(choice)
	if err := p.remember(); err != nil {
		undo()
		return fmt.Errorf("remembering the keys before: %w", err)
	}
	k.pending = true
	p.rekey()
	return p.rewrite()
}

// remember keeps beside the store what something may be sealed by.
func (p *plane) remember() error {
	if p.store.Report().Mode == localstore.Off {
		return nil
	}
	return p.store.Remember(p.keys.Records())
}

// rekey has everything on this disk use the keys as they are now. The cache drops what former keys alone open.
func (p *plane) rekey() {
	ring := p.keys.Current()
	p.store.Rekey(ring)
	p.cache.Rekey(ring)
}

// rewrite seals everything by the keys of now, if anything is not, and forgets the keys that nothing is sealed by then. It
// is called with changing held.
func (p *plane) rewrite() error {
	k := p.keys
	if _, holds := p.applier.Held(); !holds || !k.pending || p.store.Report().Mode == localstore.Off {
		return nil // a node that holds nothing has nothing to write, and may yet find the key to what lies there
	}
	left, clear, err := p.left()
	if err != nil {
		return err
	}
	if left > 0 {
		p.log.Info("the local store is written again under the keys of now", "values_left", left, "values_in_clear", clear)
		if err := p.applier.Rewrite(); err != nil {
			return fmt.Errorf("writing the local store again: %w", err)
		}
	}
	if k.Former() == 0 {
		k.pending = false
		return nil
	}
	usage, err := p.store.Usage()
	if err != nil {
		return err
	}
	if !k.Drop(usage.InUse) {
		return nil
	}
	if err := p.remember(); err != nil {
		return fmt.Errorf("forgetting former keys: %w", err)
	}
	p.rekey()
	p.notice("all is sealed by the scoped keys of now, and former ones are forgotten", "former_keys_left", k.Former())
	k.pending = k.Former() > 0
	return nil
}

// left counts what is not sealed by the keys of now, and what of that is in clear.
func (p *plane) left() (values, inClear uint64, err error) {
	usage, err := p.store.Usage()
	if err != nil {
		return 0, 0, err
	}
	for _, use := range usage.Uses {
		if !p.keys.Seals(use) {
			values += max(1, use.Values+uint64(use.Changes))
		}
	}
	inClear, changes := usage.Clear()
	return values, inClear + uint64(changes), nil
}

// rewrap puts another key of the node's own in the place of the one before: what is remembered is sealed by it too.
// What it comes of is not wiped meanwhile.
func (p *plane) rewrap(derive func() (*localkeys.Ring, error)) error {
	k := p.keys
	k.changing.Lock()
	defer k.changing.Unlock()
	if k.isOver() {
		return errKeysOver
	}
	own, err := derive()
	if err != nil {
		return err
	}
	k.Renew(own)
	if err := p.remember(); err != nil {
		return err
	}
	p.rekey()
	return p.applier.Rewrite()
}

var errKeysOver = errors.New("this node was shut out, and has forgotten its keys")

func (k *scoped) isOver() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.over
}

// forgetKeys ends the following of keys, and wipes what this process holds of them.
func (p *plane) forgetKeys() {
	k := p.keys
	if k == nil {
		return
	}
	k.mu.Lock()
	k.over = true
	roots := k.ownKey.roots
	k.mu.Unlock()
	k.changing.Lock()
	defer k.changing.Unlock()
	k.Wipe()
	for _, root := range roots {
		root.Wipe()
	}
}
