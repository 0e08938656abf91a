// Package kmsv1 seals values with the help of a Kubernetes KMS v1 plugin: each value under a key of its own, which the
// plugin wraps. It is one provider of a chain of controlplane/encryption.
//
// A write asks the plugin once, and a read once unless the value's key is still in the cache. That is what version 1 of
// the protocol makes of it: version 2 (controlplane/keyring/kms) asks once for many values, and its plugin says which
// key it used, so that a rotation is noticed. Here one is not: the mark of a value is the provider's name alone.
//
// Stored text, frozen by testdata/text.golden, is the prefix k8s:enc:kms:v1:<name>: and base64 (standard, padded,
// canonical: each value has exactly one text) of
//
//	length    2 bytes  of the wrapped key, big-endian, not 0
//	wrapped   length   the value's key, as the plugin encrypted it
//	sealed    28+n     aead.BoxGCM: nonce, ciphertext and tag of AES-256-GCM
//
// as Kubernetes lays it out, but for the base64 and the associated data, which is the place (aead.Associated of prefix,
// workspace, table, row, field and, where other forms have a key's id, nothing).
//
// Nothing is written until the plugin has opened what rests under the name, and again whenever its socket was connected anew:
// see proof.go.
//
// A plugin that lets one call time out is not asked again for a moment: whoever reads many rows gets an answer for each
// of them, and waits once.
package kmsv1

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

const (
	prefix = "k8s:enc:kms:v1:"
	// DefaultCacheSize is Kubernetes'.
	DefaultCacheSize = 1000
	maxName          = 64
)

// Plugin is what the package asks of a plugin; *kmsclient.V1 is one. A call ends by itself in bounded time, and an
// error is a kmsclient.ErrNoAnswer when that time passed in vain.
type Plugin interface {
	Encrypt(ctx context.Context, plaintext secret.Bytes) (wrapped []byte, err error)
	Decrypt(ctx context.Context, wrapped []byte) (secret.Bytes, error)
	// Link is another number with each connection to the plugin, from before the first call on it: who answers now may be
	// another plugin than the one before.
	Link() uint64
}

// Options tunes a provider. The zero value is right for production.
type Options struct {
	CacheSize int           // keys that are kept; default DefaultCacheSize, negative: none
	Pause     time.Duration // how long a plugin that gave no answer is left alone; default 3 s
	Watch     Watcher       // default: nobody
	Samples   Samples       // what the plugin must open before anything is written; nil: nothing
	Endpoint  string        // of the plugin, for people
}

// Watcher is told what Kubernetes measures of version 1. Its methods are called at any time and must not block.
type Watcher interface {
	// Arrived: a value is to be sealed (to_storage) or opened (from_storage).
	Arrived(direction string)
	// Missed: the key of a value that is to be opened is not in the cache.
	Missed()
	// Generated: a value's key was made.
	Generated(took time.Duration)
}

type nobody struct{}

func (nobody) Arrived(string)          {}
func (nobody) Missed()                 {}
func (nobody) Generated(time.Duration) {}

// Provider seals and opens. It is safe for concurrent use.
type Provider struct {
	name   string
	prefix string
	plugin Plugin
	cache  *cache
	asking flights
	outage outage
	proof  proof
	watch  Watcher
}

// New makes a provider; its name stands in each text. It refuses a name that cannot, with fault.Invalid.
func New(name string, plugin Plugin, o Options) (*Provider, error) {
	if !isName(name) {
		return nil, fault.Newf(fault.Invalid, "kmsv1.New", "", "a provider's name has 1 to %d of the signs A-Z a-z 0-9 . _ -", maxName)
	}
	if o.CacheSize == 0 {
		o.CacheSize = DefaultCacheSize
	}
	if o.Pause == 0 {
		o.Pause = 3 * time.Second
	}
	if o.Watch == nil {
		o.Watch = nobody{}
	}
	p := &Provider{
		name: name, prefix: prefix + name + ":", plugin: plugin, cache: newCache(o.CacheSize), outage: outage{pause: o.Pause}, watch: o.Watch,
	}
	p.proof.begin(o)
	return p, nil
}

// Prefix begins all texts that it reads and no others.
func (p *Provider) Prefix() string { return p.prefix }

// Mark names the provider. The error is the one that Seal would give at once.
func (p *Provider) Mark() (string, error) {
	err := cmp.Or(p.outage.now(), p.Proven())
	if err == errAnew { // which Seal waits for
		err = nil
	}
	return p.mark(), p.absent("kmsv1.Mark", err)
}

func (p *Provider) mark() string { return p.prefix[:len(p.prefix)-1] }

// Seal returns plaintext as it may be stored at place. It fails with fault.Unavailable and the subject "key/<mark>" when
// the plugin does not wrap a key, or is not known to be the one that wrapped what rests.
func (p *Provider) Seal(place aead.Place, plaintext string) (string, error) {
	p.watch.Arrived("to_storage")
	began := time.Now()
	material := make([]byte, aead.KeySize)
	rand.Read(material) // never fails: crypto/rand ends the process instead
	key := secret.Take(material)
	p.watch.Generated(time.Since(began))
	defer key.Wipe()
	wrapped, err := p.wrap(key)
	if err != nil {
		return "", p.absent("kmsv1.Seal", err)
	}
	box, err := aead.NewBox(aead.BoxGCM, key)
	if err != nil {
		return "", err
	}
	p.cache.put(keyOf(wrapped), key)
	return format(p.prefix, wrapped, box.Seal(nil, []byte(plaintext), p.associated(place))), nil
}

// wrap has the plugin wrap a key: the one that is proven, and not another that took its place since.
func (p *Provider) wrap(key secret.Bytes) (wrapped []byte, err error) {
	for range linksOfACall {
		link, err := p.await()
		if err != nil {
			return nil, err
		}
		err = p.outage.call(func() (err error) {
			wrapped, err = p.plugin.Encrypt(context.Background(), key)
			return err
		})
		switch {
		case err != nil:
			return nil, err
		case !p.proof.holds(link, p.plugin):
			continue // it may be another one's
		case len(wrapped) == 0 || len(wrapped) > maxWrapped:
			return nil, errors.New("the plugin gives a wrapped key that has no room in a value")
		}
		return wrapped, nil
	}
	return nil, errAnew
}

// Open returns the plaintext of what is stored at place. It fails with fault.Unavailable and the subject "key/<mark>"
// when the plugin does not unwrap the key, and with fault.Corrupt when text was changed or moved. A plugin that answers
// with another key cannot be told from that.
func (p *Provider) Open(place aead.Place, text string) (string, error) {
	p.watch.Arrived("from_storage")
	wrapped, sealed, err := parse(p.prefix, text)
	if err != nil {
		return "", fault.New(fault.Corrupt, "kmsv1.Open", subject(place), err)
	}
	name := keyOf(wrapped)
	key, cached := p.cache.get(name)
	if !cached {
		p.watch.Missed()
		if key, err = p.asking.do(name, func() (secret.Bytes, error) { return p.unwrap(context.Background(), wrapped) }); err != nil {
			return "", p.absent("kmsv1.Open", err)
		}
	}
	defer key.Wipe()
	box, err := aead.NewBox(aead.BoxGCM, key)
	if err != nil {
		return "", err
	}
	opened, err := box.Open(nil, sealed, p.associated(place))
	if err != nil {
		return "", fault.Newf(fault.Corrupt, "kmsv1.Open", subject(place),
			"it does not open under the key that the KMS provider %s gives for it: it was changed or moved, or the plugin answers for another key", p.name)
	}
	if !cached { // not before it is known to be the right one
		p.cache.put(name, key)
	}
	return string(opened), nil
}

func (p *Provider) unwrap(ctx context.Context, wrapped []byte) (key secret.Bytes, err error) {
	err = p.outage.call(func() (err error) {
		key, err = p.plugin.Decrypt(ctx, wrapped)
		return err
	})
	if err == nil && key.Len() != aead.KeySize {
		key.Wipe()
		return secret.Bytes{}, errors.New("the plugin gives a key of the wrong length: it answers for another one; correct or replace the plugin")
	}
	return key, err
}

// Check lets the plugin wrap and unwrap something, which is its only word for how it is. It asks however short ago the
// plugin gave no answer, and what it hears counts for the values too.
func (p *Provider) Check(ctx context.Context) error {
	data := make([]byte, aead.KeySize)
	rand.Read(data) // never fails: crypto/rand ends the process instead
	canary := secret.Take(data)
	return p.outage.try(func() error {
		wrapped, err := p.plugin.Encrypt(ctx, canary)
		if err != nil {
			return err
		}
		back, err := p.plugin.Decrypt(ctx, wrapped)
		if err != nil {
			return err
		}
		defer back.Wipe()
		if !back.Equal(canary) {
			return fault.Newf(fault.Unavailable, "kmsv1.Check", "kms/"+p.name, "the plugin does not decrypt to what it has encrypted: correct or replace it")
		}
		return nil
	})
}

// Cached says how many keys are in the cache, and how many there is room for.
func (p *Provider) Cached() (held, room int) { return p.cache.fill() }

// Close wipes the cache. The plugin stays its owner's to close.
func (p *Provider) Close() { p.cache.clear() }

// absent is err as a fault of the provider; nil stays nil.
func (p *Provider) absent(op string, err error) error {
	if err == nil {
		return nil
	}
	return fault.New(fault.Unavailable, op, "key/"+p.mark(), err)
}

func (p *Provider) associated(place aead.Place) []byte {
	return aead.Associated(p.prefix, place.Workspace, place.Table, place.Row, place.Field, "")
}

func subject(p aead.Place) string { return p.Table + "/" + p.Row + "/" + p.Field }

func isName(name string) bool {
	for i := range len(name) {
		c := name[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return name != "" && len(name) <= maxName
}
