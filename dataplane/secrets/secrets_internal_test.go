package secrets

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
)

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
		pass(11 * time.Second) // an answer takes a moment
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

// A field that is wanted while the secret is read is asked for as soon as that is done.
func TestAFieldThatIsWantedMeanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "{vault://box/db/user}")
		w.box.values = map[string]string{"db/user": "u", "db/password": "p"}
		w.box.hangs = true
		w.start()
		w.want("!has not answered yet")
		w.uses = append(w.uses, "{vault://box/db/password}")
		w.want("!has not answered yet !has not answered yet")
		w.box.change(func() { w.box.hangs = false })
		pass(askPatience + time.Second)
		w.want("u p")
		w.uses = append(w.uses, "{vault://box/db/none}")
		w.want("u p !the secret has no such member")
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
	for name, err := range map[string]error{"away": failed(fault.Unavailable), "denies": failed(fault.Denied), "talks nonsense": failed(fault.Corrupt)} {
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
				if got := w.compile(); !strings.HasPrefix(got, "!") {
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
		w.box.change(func() { w.box.err = failed(fault.Unavailable) })
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
		w.box.change(func() { w.box.err = failed(fault.Unavailable) })
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
		w.box.change(func() { w.box.err = failed(fault.Unavailable) })
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
