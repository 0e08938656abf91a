package revocation_test

import (
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keepgate/keepgate/shared/pkitest"
	"github.com/keepgate/keepgate/shared/revocation"
)

const (
	listAt      = "http://pki.test/crl"
	responderAt = "http://pki.test/ocsp"
)

// held is an authority with a client, in a room whose time passes only when everybody waits.
type held struct {
	*pkitest.Responder
	client pkitest.Pair
	room   *revocation.Room
	chain  *revocation.Chain
}

func newHeld(t *testing.T, s revocation.Settings, edits ...pkitest.Edit) *held {
	t.Helper()
	root := pkitest.Root(t, "ca")
	h := &held{Responder: pkitest.NewResponder(root)}
	h.client = root.Issue("client", append(edits, lasting)...)
	h.room = running(t, served(t, h.Responder))
	h.chain = h.room.Chain(chainOf(h.client, root), s)
	return h
}

// ask asks, says how long it took, and lets what is under way come to an end.
func (h *held) ask(t *testing.T, mode revocation.Mode) (took time.Duration, err error) {
	t.Helper()
	from := time.Now()
	err = h.chain.Check(t.Context(), mode, from)
	took = time.Since(from)
	synctest.Wait()
	return took, err
}

func (h *held) asked() int64 { return h.Lists.Load() + h.Responses.Load() }

func (h *held) set(change func(*pkitest.Responder)) { h.Change(change) }

// each runs a test for both sorts of servers, in a time of its own.
func each(t *testing.T, test func(t *testing.T, at pkitest.Edit)) {
	t.Parallel()
	for name, at := range map[string]pkitest.Edit{"list": pkitest.At(listAt, ""), "responder": pkitest.At("", responderAt)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { test(t, at) })
		})
	}
}

func TestNobodyWaitsButAtFirstSight(t *testing.T) {
	each(t, func(t *testing.T, at pkitest.Edit) {
		h := newHeld(t, settings, at)
		h.set(func(r *pkitest.Responder) { r.Delay, r.Lifetime = 2*time.Second, 10*time.Minute })
		if took, err := h.ask(t, revocation.Strict); err != nil || took != 2*time.Second {
			t.Fatalf("at first sight: %v after %v, want to have waited", err, took)
		}
		for range 12 * 60 { // two hours
			time.Sleep(10 * time.Second)
			if took, err := h.ask(t, revocation.Strict); err != nil || took != 0 {
				t.Fatalf("%v after %v, want nobody to wait", err, took)
			}
		}
		if asked := h.asked(); asked < 100 || asked > 121 {
			t.Errorf("asked %d times in two hours, want once a minute", asked)
		}
		before := h.asked()
		time.Sleep(30 * time.Minute)
		if took, err := h.ask(t, revocation.Strict); err != nil || took != 0 {
			t.Errorf("half an hour later: %v after %v, want it to be held ready", err, took)
		}
		if asked := h.asked() - before; asked < 3 || asked > 8 {
			t.Errorf("asked %d times while nobody asked, want it when three quarters of ten minutes have passed", asked)
		}
		time.Sleep(3 * time.Hour)
		if took, err := h.ask(t, revocation.Strict); err != nil || took != 2*time.Second {
			t.Errorf("three hours later: %v after %v, want it to be fetched again", err, took)
		}
	})
}

func TestARevocationIsSeenAtTheNextRefresh(t *testing.T) {
	each(t, func(t *testing.T, at pkitest.Edit) {
		h := newHeld(t, settings, at)
		h.set(func(r *pkitest.Responder) { r.Lifetime = 24 * time.Hour })
		if _, err := h.ask(t, revocation.IgnoreErrors); err != nil {
			t.Fatal(err)
		}
		h.Revoke(h.client.Cert)
		revoked := time.Now()
		for ; ; time.Sleep(time.Second) {
			if _, err := h.ask(t, revocation.IgnoreErrors); errors.Is(err, revocation.ErrRevoked) {
				break
			}
			if time.Since(revoked) > 2*time.Minute {
				t.Fatal("the revocation is not seen")
			}
		}
		if took := time.Since(revoked); took > settings.Refresh+2*time.Second {
			t.Errorf("seen after %v, want it within %v", took, settings.Refresh)
		}
	})
}

// Who has lost a certificate shall not regain it by silencing the server, nor by playing an older answer.
func TestRevokedStaysRevoked(t *testing.T) {
	each(t, func(t *testing.T, at pkitest.Edit) {
		h := newHeld(t, settings, at)
		var older []byte
		h.set(func(r *pkitest.Responder) {
			r.Lifetime = 48 * time.Hour
			r.Instead = func(w http.ResponseWriter, request *http.Request) {
				r.Change(func(r *pkitest.Responder) { r.Instead = nil })
				kept := &kept{ResponseWriter: w}
				r.ServeHTTP(kept, request)
				older = kept.body
			}
		})
		if _, err := h.ask(t, revocation.Strict); err != nil {
			t.Fatal(err)
		}
		h.set(func(r *pkitest.Responder) { r.Lifetime = time.Hour })
		h.Revoke(h.client.Cert)
		time.Sleep(2 * time.Minute)
		h.ask(t, revocation.IgnoreErrors)
		stays := func(when string) {
			t.Helper()
			for range 6 {
				time.Sleep(10 * time.Minute)
				if _, err := h.ask(t, revocation.IgnoreErrors); !errors.Is(err, revocation.ErrRevoked) {
					t.Errorf("%s: %v, want it to stay revoked", when, err)
				}
			}
		}
		h.set(func(r *pkitest.Responder) { r.Instead = raw(older, http.StatusOK) })
		stays("an older answer is played")
		h.set(func(r *pkitest.Responder) { r.Instead = raw(nil, http.StatusServiceUnavailable) })
		for range 6 {
			stays("the server is dead")
		}
		h.set(func(r *pkitest.Responder) { r.Instead, r.Revoked = nil, map[string]bool{} })
		time.Sleep(2 * time.Minute)
		h.ask(t, revocation.IgnoreErrors)
		if _, err := h.ask(t, revocation.IgnoreErrors); err != nil {
			t.Errorf("a newer answer says that it is good: %v", err)
		}
	})
}

// kept remembers what is answered.
type kept struct {
	http.ResponseWriter
	body []byte
}

func (k *kept) Write(b []byte) (int, error) {
	k.body = append(k.body, b...)
	return k.ResponseWriter.Write(b)
}

func TestADeadServerIsAskedLessAndLess(t *testing.T) {
	each(t, func(t *testing.T, at pkitest.Edit) {
		h := newHeld(t, settings, at)
		h.set(func(r *pkitest.Responder) { r.Instead = raw(nil, http.StatusServiceUnavailable) })
		from := time.Now()
		for time.Since(from) < time.Hour {
			if took, err := h.ask(t, revocation.IgnoreErrors); err != nil || took != 0 {
				t.Fatalf("%v after %v, want it let pass", err, took)
			}
			if took, err := h.ask(t, revocation.Strict); err == nil || took != 0 {
				t.Fatalf("%v after %v, want it refused", err, took)
			}
			time.Sleep(time.Second / 2)
		}
		if asked := h.asked(); asked < 60 || asked > 70 { // 1, 2, 4 … 60 seconds
			t.Errorf("asked %d times in an hour", asked)
		}
		h.set(func(r *pkitest.Responder) { r.Instead = nil })
		time.Sleep(settings.Refresh)
		if _, err := h.ask(t, revocation.Strict); err != nil {
			t.Errorf("the server lives again: %v", err)
		}
	})
}

func TestWaitingEnds(t *testing.T) {
	each(t, func(t *testing.T, at pkitest.Edit) {
		s := settings
		s.Timeout = 3 * time.Second
		h := newHeld(t, s, at)
		h.set(func(r *pkitest.Responder) { r.Delay = time.Hour })
		if took, err := h.ask(t, revocation.IgnoreErrors); err != nil || took != 0 {
			t.Errorf("IgnoreErrors: %v after %v", err, took)
		}
		if took, err := h.ask(t, revocation.Strict); err == nil || took != s.Timeout {
			t.Errorf("Strict: %v after %v, want it to wait for %v", err, took, s.Timeout)
		}
		time.Sleep(2 * time.Hour) // the server's handlers end
	})
}

func lasting(template *x509.Certificate) { template.NotAfter = time.Now().AddDate(1, 0, 0) }

func TestTheListStandsInForTheResponder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHeld(t, settings, pkitest.At(listAt, responderAt))
		h.set(func(r *pkitest.Responder) { r.Delay = time.Second })
		if took, err := h.ask(t, revocation.Strict); err != nil || took != time.Second || h.Lists.Load() != 0 {
			t.Fatalf("%v after %v, and %d lists were fetched", err, took, h.Lists.Load())
		}
		h.set(func(r *pkitest.Responder) {
			r.Instead = func(w http.ResponseWriter, request *http.Request) {
				if request.Method == http.MethodPost {
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
				_, _ = w.Write(r.List())
			}
		})
		time.Sleep(2 * time.Hour) // what the responder said has ended
		if took, err := h.ask(t, revocation.Strict); err != nil || took > 2*time.Second {
			t.Errorf("%v after %v, want the list to be asked", err, took)
		}
		for range 300 {
			time.Sleep(5 * time.Second)
			if took, err := h.ask(t, revocation.Strict); err != nil || took != 0 {
				t.Fatalf("%v after %v, want nobody to wait for the dead responder", err, took)
			}
		}
		h.Revoke(h.client.Cert)
		time.Sleep(2 * time.Minute)
		h.ask(t, revocation.Strict)
		time.Sleep(2 * time.Second)
		if _, err := h.ask(t, revocation.Strict); !errors.Is(err, revocation.ErrRevoked) {
			t.Errorf("%v, want the list to be believed", err)
		}
		// it was on hold, and both say so, the responder first
		h.set(func(r *pkitest.Responder) { r.Instead, r.Revoked, r.Delay = nil, map[string]bool{}, 0 })
		var err error
		for range 5 {
			time.Sleep(2 * time.Minute)
			_, err = h.ask(t, revocation.Strict)
		}
		if err != nil {
			t.Errorf("%v, want the list that is held to be fetched anew", err)
		}
	})
}

// The silent servers of one authority must not hold up what others need.
func TestASilentHostHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		silent, lively := pkitest.Root(t, "silent"), pkitest.Root(t, "lively")
		responder := pkitest.NewResponder(lively)
		hanging := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Host == "silent.test" {
				_, _ = io.Copy(io.Discard, r.Body) // only then it hears that the client has gone
				<-r.Context().Done()
				return
			}
			responder.ServeHTTP(w, r)
		})
		room := running(t, served(t, hanging))
		for range 200 {
			client := silent.Issue("client", pkitest.At("", "http://silent.test/"))
			if err := room.Chain(chainOf(client, silent), settings).Check(t.Context(), revocation.IgnoreErrors, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(settings.Timeout + time.Second)
		client := lively.Issue("client", pkitest.At("", "http://lively.test/"))
		from := time.Now()
		if err := room.Chain(chainOf(client, lively), settings).Check(t.Context(), revocation.Strict, from); err != nil || time.Since(from) > time.Second {
			t.Errorf("%v after %v", err, time.Since(from))
		}
	})
}
