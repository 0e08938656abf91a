package secrets

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secretbackend"
)

// A vault that cannot be asked any more, as one whose token was taken out of it, is not asked, and what was known of it is not
// used.
func TestAVaultThatLosesItsBackend(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "{vault://box/a}")
		w.box.values["a"] = "1"
		open := w.opener
		w.opener = func(at place, is spec) (secretbackend.Backend, string) {
			if is.fault != "" {
				return nil, is.fault
			}
			return open(at, is)
		}
		w.start()
		w.want("1")
		w.box.questions()
		token := w.config.Token
		w.config.Token = nil // this node has none for that server either
		if got := w.compile(); !strings.HasPrefix(got, "!config.token: it has none of its own") {
			t.Errorf("it leads to %q", got)
		}
		pass(time.Hour)
		if asked := w.box.questions(); len(asked) != 0 || len(w.documents) != 0 {
			t.Errorf("asked %v, %d secrets are held", asked, len(w.documents))
		}
		w.config.Token = token
		w.want("1")
	})
}

// Of many values each ends in time while their vault is away, although few of them are asked for.
func TestNoValueOutlivesItsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for i := range 200 {
			w.uses = append(w.uses, fmt.Sprintf("{vault://box/s%d}", i))
			w.box.values[fmt.Sprintf("s%d", i)] = "v"
		}
		w.start()
		w.compile()
		w.box.change(func() { w.box.err = failed(fault.Unavailable) })
		pass(11*time.Minute + time.Second) // ttl and resurrect_ttl
		if got := w.compile(); strings.Contains(" "+got+" ", " v ") {
			t.Errorf("%d of 200 values are still used", strings.Count(" "+got+" ", " v "))
		}
	})
}

// Whoever configures a vault cannot have this node ask all the time.
func TestTimesOfVaultsHaveABound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "{vault://box/a}", "{vault://box/none}")
		w.box.values["a"] = "1"
		w.config.Ttl, w.config.NegTtl, w.config.ResurrectTtl = new(0.001), new(0.001), new(0.001)
		w.start()
		w.compile()
		w.box.questions()
		pass(10 * time.Second)
		if asked := w.box.questions(); len(asked) < 15 || len(asked) > 25 {
			t.Errorf("asked %d times in ten seconds for two secrets", len(asked))
		}
	})
}

// That a secret is taken for absent does not end with the next compilation.
func TestWhatIsGoneIsTakenForAbsent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "{vault://box/a}")
		w.box.values["a"] = "1"
		w.start()
		w.want("1")
		w.box.change(func() { delete(w.box.values, "a") })
		pass(61 * time.Second)
		w.want("!there is no such secret")
		w.box.questions()
		for range 3 {
			w.want("!there is no such secret")
			pass(time.Second)
		}
		if asked := w.box.questions(); len(asked) != 0 {
			t.Errorf("asked %v within neg_ttl", asked)
		}
	})
}

// However many vaults of a workspace do not answer, those of another are asked.
func TestWorkspacesDoNotHoldEachOtherUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		mute := &box{hangs: true}
		w.opener = func(at place, _ spec) (secretbackend.Backend, string) {
			if at.workspace == home {
				return w.box, ""
			}
			return mute, ""
		}
		w.box.values["a"] = "1"
		w.start()
		compile := func(own bool) string {
			found := ""
			for again := true; again; again = w.Settle() {
				w.Begin(func(yield func(string, *configv1.Vault) bool) {
					for range w.entities() {
						for i := range 40 {
							if !yield("noisy", &configv1.Vault{Name: new(kindHCV), Prefix: new(fmt.Sprint("v", i)), Config: w.config}) {
								return
							}
						}
					}
					w.entities()(yield)
				})
				for i := range 40 {
					_, _ = w.Resolve("noisy", parsed(t, fmt.Sprintf("{vault://v%d/a}", i)))
				}
				if own {
					found, _ = w.Resolve(home, parsed(t, "{vault://box/a}"))
				}
			}
			w.End()
			return found
		}
		compile(false)
		if got := compile(true); got != "1" {
			t.Errorf("it leads to %q", got)
		}
		mute.change(func() {
			if mute.most > questionsPlace {
				t.Errorf("%d questions of one workspace at once", mute.most)
			}
		})
	})
}
