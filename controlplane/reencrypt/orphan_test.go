package reencrypt_test

import (
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/reencrypt"
)

// A job that every living node would do otherwise says so, and goes on when one comes that does as it wants.
func TestAJobThatNobodyTakesSaysWhy(t *testing.T) {
	engines(t, func(t *testing.T, e *env) {
		e.start(encryption.Options{})
		e.fillKeys("k", 60)
		before := e.values()
		e.start(encryption.Options{Decrypt: true})
		n := e.run("a", reencrypt.Options{Batch: 5})
		e.begin(n, reencrypt.Request{Table: "keyauth_credentials", Rate: 100})
		e.await(n, "under way", func(p reencrypt.Progress) bool { return p.Resealed > 0 })
		n.kill()

		e.start(encryption.Options{Migrate: true}) // decrypting was given up, and the job not cancelled
		n = e.run("b", reencrypt.Options{})
		p := e.await(n, "said to wait", func(p reencrypt.Progress) bool { return p.Waiting != "" })
		if p.State != reencrypt.Running || p.Node != "a" || !strings.Contains(p.Waiting, "keyring_decrypt_all = on") {
			t.Errorf("progress %+v", p)
		}
		if got := e.recorded("reencrypt.takeover"); got != 0 {
			t.Errorf("the journal has %d who took it over", got)
		}
		n.kill()

		e.start(encryption.Options{Decrypt: true})
		n = e.run("c", reencrypt.Options{})
		if _, err := n.SetRate(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if p := e.awaitDone(n); p.Waiting != "" || e.under()[""] < 60 {
			t.Errorf("%d rows are in clear, progress %+v", e.under()[""], p)
		}
		if got := e.recorded("reencrypt.takeover from a"); got != 1 {
			t.Errorf("the journal has %d who took it over from a, want 1", got)
		}
		e.same(before)
	})
}

// A node that does what the job wants is not talked over by one that does not.
func TestAJobWithAnOwnerIsNotSaidToWait(t *testing.T) {
	t.Parallel()
	e := newEnv(t, "")
	e.start(encryption.Options{})
	e.fillKeys("k", 40)
	e.start(encryption.Options{Decrypt: true})
	n := e.run("a", reencrypt.Options{Batch: 5})
	e.begin(n, reencrypt.Request{Table: "keyauth_credentials", Rate: 40})
	e.await(n, "under way", func(p reencrypt.Progress) bool { return p.Resealed > 0 })
	e.start(encryption.Options{Migrate: true})
	e.run("b", reencrypt.Options{}) // looks every few milliseconds
	if p := e.await(n, "further", func(p reencrypt.Progress) bool { return p.Waiting != "" || p.Resealed > 20 }); p.Waiting != "" || p.Node != "a" {
		t.Errorf("progress %+v", p)
	}
}
