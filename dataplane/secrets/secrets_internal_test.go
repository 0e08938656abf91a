package secrets

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
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

func (b *box) Read(ctx context.Context, name string, version int, fields []string) (map[string]Field, error) {
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
		return nil, failed(fault.Unavailable, "no answer in time")
	}
	if b.err != nil {
		return nil, b.err
	}
	found := map[string]Field{}
	for _, one := range fields {
		if value, ok := b.values[strings.TrimSuffix(name+"/"+one, "/")]; ok {
			found[one] = Field{Value: secret.Take([]byte(value))}
			b.given = append(b.given, found[one].Value)
		}
	}
	if len(found) == 0 {
		return nil, failed(fault.NotFound, "nothing")
	}
	return found, nil
}

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
	w.opener = func(at place, _ spec) (Backend, string) {
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

func TestARotationIsNoticed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "{vault://box/db/user}", "{vault://box/db/password}", "{vault://box/other}")
		w.box.values = map[string]string{"db/user": "u", "db/password": "one", "other": "o"}
		w.start()
		w.want("u one o")
		if asked := w.box.questions(); len(asked) != 2 {
			t.Errorf("asked %v: the fields of a secret are read together", asked)
		}
		if w.hears() {
			t.Error("what a compilation has used is told as a change")
		}
		pass(50 * time.Second)
		if asked := w.box.questions(); len(asked) != 0 {
			t.Errorf("asked %v before the ttl", asked)
		}
		w.box.change(func() { w.box.values["db/password"] = "two" })
		pass(10 * time.Second)
		if asked := w.box.questions(); len(asked) != 2 || !w.hears() {
			t.Errorf("asked %v, and no change was told", asked)
		}
		w.want("u two o")
		pass(10 * time.Minute)
		if w.hears() {
			t.Error("a change is told although there is none")
		}
	})
}

func TestAbsentSecretsAreTakenForAbsent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "{vault://box/new}")
		w.start()
		w.want("!there is no such secret")
		w.box.questions()
		for range 3 {
			w.want("!there is no such secret")
		}
		if asked := w.box.questions(); len(asked) != 0 {
			t.Errorf("asked %v within neg_ttl", asked)
		}
		w.box.change(func() { w.box.values["new"] = "n" })
		pass(11 * time.Second)
		if !w.hears() {
			t.Fatal("the secret that is there now was not told")
		}
		w.want("n")
		w.box.change(func() { delete(w.box.values, "new") })
		pass(61 * time.Second)
		if !w.hears() {
			t.Fatal("the secret that is gone was not told")
		}
		w.want("!there is no such secret")
	})
}

func TestAValueOutlivesItsVaultForATime(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{"away": failed(fault.Unavailable, "away"), "denies": failed(fault.Denied, "denied"), "talks nonsense": failed(fault.Corrupt, "nonsense")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "{vault://box/a}")
				w.box.values["a"] = "1"
				w.start()
				w.want("1")
				w.box.change(func() { w.box.err = err })
				pass(10*time.Minute + 30*time.Second)
				if w.hears() {
					t.Error("a change is told while the value is still used")
				}
				w.want("1")
				if s := w.Status(); len(s) != 1 || s[0].Fault == "" || s[0].Failures == 0 || s[0].Unresolved != 0 || s[0].References != 1 {
					t.Errorf("status %+v", s)
				}
				w.box.questions()
				pass(31 * time.Second)
				if !w.hears() {
					t.Error("that the value is used no longer was not told")
				}
				if got := w.compile(); !strings.HasPrefix(got, "!it c") {
					t.Errorf("it leads to %q", got)
				}
				w.box.change(func() { w.box.err = nil })
				pass(longestPause + 10*time.Second)
				if !w.hears() {
					t.Error("that the vault is back was not told")
				}
				w.want("1")
				if s := w.Status(); s[0].Fault != "" || s[0].LastSuccess.IsZero() {
					t.Errorf("status %+v", s)
				}
			})
		})
	}
}

func TestACompilationWaitsForABoundedTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "{vault://box/a}", "{vault://box/b}")
		w.box.values["a"], w.box.values["b"] = "1", "2"
		w.box.hangs = true
		w.start()
		began := time.Now()
		w.want(`!has not answered yet !has not answered yet`)
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("the compilation took %v", took)
		}
		w.box.change(func() { w.box.hangs = false })
		pass(askPatience + time.Second)
		if !w.hears() {
			t.Fatal("nothing healed by itself")
		}
		w.want("1 2")
		w.uses = append(w.uses, "{vault://box/c}")
		w.box.change(func() { w.box.err = failed(fault.Unavailable, "away") })
		began = time.Now()
		w.want("1 2 !it cannot be read now")
		w.uses = append(w.uses, "{vault://box/d}")
		w.want("1 2 !it cannot be read now !has not answered yet")
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("a vault that is known to be away held compilations up for %v", took)
		}
	})
}

// However much is referred to, a vault that is away is asked one question at a time, less and less often.
func TestADeadVaultIsLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for i := range 200 {
			w.uses = append(w.uses, fmt.Sprintf("{vault://box/s%d}", i))
			w.box.values[fmt.Sprintf("s%d", i)] = "v"
		}
		w.start()
		w.compile()
		if w.box.most != questionsVault {
			t.Errorf("%d questions at once, want %d", w.box.most, questionsVault)
		}
		w.box.change(func() { w.box.err = failed(fault.Unavailable, "away") })
		pass(2 * time.Minute)
		w.box.questions()
		pass(10 * time.Minute)
		if asked := w.box.questions(); len(asked) < 15 || len(asked) > 25 {
			t.Errorf("%d questions in ten minutes", len(asked))
		}
		w.box.change(func() { w.box.err = nil })
		pass(longestPause * 2)
		if asked := w.box.questions(); len(asked) < 200 {
			t.Errorf("%d questions once it is back", len(asked))
		}
	})
}

func TestWhatIsNotReferredToIsForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "{vault://box/a}", "{vault://box/b/x}", "{vault://box/b/y}")
		w.box.values = map[string]string{"a": "1", "b/x": "2", "b/y": "3"}
		w.start()
		w.want("1 2 3")
		w.uses = w.uses[1:2]
		w.want("2")
		wiped := 0
		for _, one := range w.box.given {
			one.Reveal(func(data []byte) {
				if !slices.ContainsFunc(data, func(b byte) bool { return b != 0 }) {
					wiped++
				}
			})
		}
		if wiped != 2 || len(w.documents) != 1 {
			t.Errorf("%d of 2 values are wiped, %d secrets are held", wiped, len(w.documents))
		}
		w.Forget()
		for _, one := range w.box.given {
			one.Reveal(func(data []byte) {
				if slices.ContainsFunc(data, func(b byte) bool { return b != 0 }) {
					t.Error("a value is left after all was forgotten")
				}
			})
		}
		if got := w.compile(); got != "!this node keeps no secrets any more" {
			t.Errorf("after that it leads to %q", got)
		}
	})
}

func TestAVaultThatIsConfiguredAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "{vault://box/a}")
		w.box.values["a"] = "1"
		w.start()
		w.want("1")
		w.box.change(func() { w.box.values["a"] = "2" })
		w.config.Token = new("another token")
		w.want("1") // and it is asked again at once
		pass(time.Second)
		if !w.hears() {
			t.Error("it was not asked for by the new token")
		}
		w.want("2")
		w.box.change(func() { w.box.err = failed(fault.Unavailable, "away") })
		w.config.Ttl, w.config.ResurrectTtl = new(30.0), new(60.0)
		w.want("2")
		w.config.Host = new("elsewhere.test")
		w.want("!it cannot be read now")
		w.box.change(func() { w.box.err = nil })
		pass(time.Minute)
		w.want("2")
	})
}

func TestVersionsAndTimesOfReferences(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "{vault://box/a#3}", "{vault://box/a}", "{vault://box/b?ttl=5}")
		w.box.values["a"], w.box.values["b"] = "1", "2"
		w.start()
		w.want("1 1 2")
		asked := w.box.questions()
		slices.Sort(asked)
		if !slices.Equal(asked, []string{"a#0", "a#3", "b#0"}) {
			t.Errorf("asked %v", asked)
		}
		pass(5*time.Second + 500*time.Millisecond)
		if asked := w.box.questions(); !slices.Equal(asked, []string{"b#0"}) {
			t.Errorf("asked %v after the ttl of the reference", asked)
		}
		w.config.Ttl = new(0.0) // until the process ends
		w.uses = w.uses[1:2]
		w.want("1")
		pass(time.Minute) // as was arranged before
		w.box.questions()
		pass(24 * time.Hour)
		if asked := w.box.questions(); len(asked) != 0 {
			t.Errorf("asked %v", asked)
		}
	})
}
