// Package kms keeps the keys of a ring by a Kubernetes KMS plugin: wrapped, in the database, so that after an outage
// of everything the plugin alone gives them back. It is keyring_strategy = kms, and a kms provider of an
// EncryptionConfiguration; the ring itself is controlplane/keyring, the socket shared/kmsclient.
//
// Nothing waits for the plugin but [Keeper.Run]. It asks for Status every minute while that is good and every 10
// seconds while it is not, unwraps each key of the ring once, and keeps the ring's active key up with the key_id that
// the plugin says.
//
// # Periods
//
// A key belongs to one period of the plugin's key_id. A key_id that differs from that of the newest key begins a
// period, which gets a key of its own, also when an older period had the same key_id: A, B and A again are three keys.
// Of several nodes that see the change the first makes the key, since the ring's head has one successor; the others
// find it there. It becomes active once every node that lives and has the ring has unwrapped it by its own plugin;
// until then the old one goes on, and where there is none nothing is sealed. Plugins of several nodes learn of a change
// at different times. A node whose plugin says a key_id that is older than the newest key's, and has not been seen to go
// back to it, is behind: it makes a key only when that has lasted for long ([lagGrace]).
//
// New keys are at most one a minute on average (three at once), whatever the plugin says.
//
// # What is believed
//
// Encrypt counts only under the key_id that Status says, and only if Decrypt gives back what went in: a key whose
// wrapping opens under no key would be lost with the last process that holds it. What Decrypt answers counts only
// with the check value of the key's proven row.
//
// # When nothing is sealed
//
// [Keeper.Sealing] refuses once the last good Status is older than three minutes, and a Status counts as good only if
// the plugin says that it is well; also when this node's plugin has for as long named a key_id under which it lets no
// key become active. Reading needs no plugin once a key is unwrapped.
package kms

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/kmsclient"
	"github.com/keepgate/keepgate/shared/secret"
)

// Strategy is the name that settings and the database know.
const Strategy = "kms"

// Plugin is a KMS plugin. Its errors tell what it left undone and the remedy.
type Plugin interface {
	// Status fails unless the plugin is well, and says under which key it encrypts now.
	Status(ctx context.Context) (kmsclient.Status, error)
	Encrypt(ctx context.Context, plaintext secret.Bytes) (kmsclient.Wrapped, error)
	Decrypt(ctx context.Context, wrapped kmsclient.Wrapped) (secret.Bytes, error)
}

// Options tunes a Keeper. The zero value is right for production.
type Options struct {
	Endpoint  string        // for people
	Log       *slog.Logger  // default: discard
	Permitted time.Duration // how old the last good Status may be when something is sealed; default 3 min
	Healthy   time.Duration // between two Status calls while it is good; default 1 min
	Unhealthy time.Duration // while it is not; default 10 s
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	for _, d := range []struct {
		value *time.Duration
		unset time.Duration
	}{{&o.Permitted, 3 * time.Minute}, {&o.Healthy, time.Minute}, {&o.Unhealthy, 10 * time.Second}} {
		if *d.value <= 0 {
			*d.value = d.unset
		}
	}
	return o
}

// Keeper wraps and unwraps the keys of one ring by one plugin. It is safe for concurrent use.
type Keeper struct {
	name    string
	api     string
	plugin  Plugin
	options Options
	seen    atomic.Pointer[observed]
	wake    chan struct{}
	asking  chan struct{} // held by whoever asks for Status

	mu      sync.Mutex          // of everything below, and of writers of seen
	failed  map[string]*failure // by key id: those that were not unwrapped
	counts  counts
	active  record.Key // as Run saw it last
	lag     lag
	changes []time.Time // of key_id, lately
}

// New makes the keeper of a provider's keys and starts nothing. The name is that of the provider, for good: what it
// wrapped opens under no other.
func New(name string, plugin Plugin, options Options) *Keeper {
	k := &Keeper{
		name: name, api: "v2", plugin: plugin, options: options.withDefaults(),
		wake: make(chan struct{}, 1), asking: make(chan struct{}, 1), failed: map[string]*failure{},
	}
	if _, older := plugin.(*v1); older {
		k.api = "v1"
	}
	k.counts.init()
	k.seen.Store(&observed{since: time.Now()})
	return k
}

// Strategy is "kms".
func (*Keeper) Strategy() string { return Strategy }

// InMemoryOnly is false: the plugin gives the material back.
func (*Keeper) InMemoryOnly() bool { return false }

// Prepare has nothing to do.
func (*Keeper) Prepare() (notice string, err error) { return "", nil }

// Warnings has nothing to say that [Keeper.Health] does not.
func (*Keeper) Warnings() []string { return nil }

// Keep refuses: material comes from the ring itself alone, by Wrap.
func (k *Keeper) Keep(row record.Key, _ secret.Bytes) (record.Key, error) {
	return row, k.fault(fault.Denied, "kms.Keep", "material of a KMS plugin's keys is never brought in from elsewhere")
}

// Refuses says what is not for keys that never leave the plugin's custody.
func (k *Keeper) Refuses(act keyring.Act) error {
	switch act {
	case keyring.ActImport, keyring.ActExport, keyring.ActRecover:
		return fault.Newf(fault.Invalid, "keyring", "keyring_strategy", "keyring_strategy = kms: there is no %s; the database holds the keys wrapped, and the KMS plugin alone opens them, so a backup is a copy of the database and of the plugin's own key", act)
	case keyring.ActRewrap:
		switch o := k.seen.Load(); {
		case o.err != nil || o.good.IsZero():
			return k.unwell(o)
		case o.stuck.text != "":
			return k.fault(fault.Unavailable, "kms.Rewrap", "the nodes are not yet agreed on the plugin's present key_id (%s): try again when they are", o.stuck.text)
		}
	}
	return nil
}

// Restore says why the material is missing; Run unwraps it. It never waits.
func (k *Keeper) Restore(row record.Key) (secret.Bytes, error) {
	if _, err := k.open(row); err != nil {
		return secret.Bytes{}, err
	}
	k.look()
	k.mu.Lock()
	defer k.mu.Unlock()
	if f := k.failed[row.ID]; f != nil {
		return secret.Bytes{}, fault.New(fault.Unavailable, "kms.Restore", "key/"+row.ID, f.err)
	}
	return secret.Bytes{}, fault.Newf(fault.Unavailable, "kms.Restore", "key/"+row.ID, "KMS plugin %s has not unwrapped it yet", k.name)
}

// open reads what a row keeps.
func (k *Keeper) open(row record.Key) (wrapped, error) {
	w, err := parse(row.Wrapped)
	switch {
	case err != nil:
	case w.provider != k.name:
		err = fmt.Errorf("provider %q has wrapped it, and this one is %q: a provider keeps its name for as long as anything is sealed under its keys", w.provider, k.name)
	case w.api != k.api:
		err = fmt.Errorf("it was wrapped by version %s of the KMS API, and the plugin is set to %s: set it to %[1]s again", w.api, k.api)
	}
	if err != nil {
		return w, fault.New(fault.Corrupt, "kms.Restore", "key/"+row.ID, err)
	}
	return w, nil
}

// Close ends what the plugin holds open.
func (k *Keeper) Close() error {
	if closer, ok := k.plugin.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

func (k *Keeper) fault(kind fault.Kind, op, format string, args ...any) error {
	return fault.Newf(kind, op, "kms/"+k.name, format, args...)
}

// look lets Run look at the ring.
func (k *Keeper) look() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}
