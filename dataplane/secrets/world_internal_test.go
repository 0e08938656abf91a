package secrets

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/secretbackend"
	"github.com/keepgate/keepgate/shared/secretref"
)

// box is a backend that holds what it is told to.
type box struct {
	mu     sync.Mutex
	values map[string]string // by secret and field
	err    error
	hangs  bool
	asked  []string
	inside int
	most   int
	given  []secret.Bytes
}

func (b *box) Read(ctx context.Context, name string, version int, fields []string) (map[string]secretbackend.Field, error) {
	b.mu.Lock()
	b.asked = append(b.asked, fmt.Sprint(name, "#", version))
	b.inside++
	b.most = max(b.most, b.inside)
	hangs := b.hangs
	b.mu.Unlock()
	if hangs {
		<-ctx.Done()
	}
	time.Sleep(time.Millisecond)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inside--
	if ctx.Err() != nil {
		return nil, failed(fault.Unavailable)
	}
	if b.err != nil {
		return nil, b.err
	}
	found := map[string]secretbackend.Field{}
	for _, one := range fields {
		if value, ok := b.values[strings.TrimSuffix(name+"/"+one, "/")]; ok {
			found[one] = secretbackend.Field{Value: secret.Take([]byte(value))}
			b.given = append(b.given, found[one].Value)
		}
	}
	if len(found) == 0 {
		return nil, failed(fault.NotFound)
	}
	return found, nil
}

// failed is how a backend fails.
func failed(kind fault.Kind) error { return fault.Newf(kind, "box.Read", "secret", "it failed") }

func (*box) Close() {}

func (b *box) change(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

// questions are those since the last call.
func (b *box) questions() (asked []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	asked, b.asked = b.asked, nil
	return asked
}

// world is Secrets in a bubble of time, with one vault "box" whose ttl is 60 s, neg_ttl 10 s and resurrect_ttl 10 min.
type world struct {
	*Secrets
	t      *testing.T
	box    *box
	config *configv1.VaultConfig
	uses   []string
}

func newWorld(t *testing.T, uses ...string) *world {
	w := &world{t: t, box: &box{values: map[string]string{}}, uses: uses, config: &configv1.VaultConfig{Host: new("v.test"), Token: new("t")}}
	w.Secrets = New(Options{Negative: 10 * time.Second, Resurrect: 10 * time.Minute, HCV: HCV{TTL: time.Minute}})
	w.opener = func(at place, _ spec) (secretbackend.Backend, string) {
		if isKind(at.name) {
			return nil, "not in this test"
		}
		return w.box, ""
	}
	return w
}

// start runs the world until the test ends.
func (w *world) start() {
	ctx, stop := context.WithCancel(w.t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = w.Run(ctx) })
	w.t.Cleanup(func() { stop(); running.Wait() })
}

func (w *world) entities() iter.Seq2[string, *configv1.Vault] {
	return func(yield func(string, *configv1.Vault) bool) {
		yield(home, &configv1.Vault{Name: new(kindHCV), Prefix: new("box"), Config: w.config})
	}
}

// compile asks for all that is used, as a compilation does, and returns what it leads to.
func (w *world) compile() string {
	w.t.Helper()
	ask := func() string {
		w.Begin(w.entities())
		var found []string
		for _, text := range w.uses {
			r, err := secretref.Parse(text)
			if err != nil {
				w.t.Fatal(err)
			}
			value, err := w.Resolve(home, r)
			if err != nil {
				value = "!" + strings.TrimLeft(strings.TrimPrefix(err.Error(), `vault "box"`), ": ")
			}
			found = append(found, value)
		}
		return strings.Join(found, " ")
	}
	found := ask()
	if w.Settle() {
		found = ask()
	}
	w.End()
	return found
}

func (w *world) want(want string) {
	w.t.Helper()
	if got := w.compile(); got != want {
		w.t.Errorf("compiled with %q, want %q", got, want)
	}
}

// hears reports whether something was told to have changed.
func (w *world) hears() bool {
	synctest.Wait()
	select {
	case <-w.Changed():
		return true
	default:
		return false
	}
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
