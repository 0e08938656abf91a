package enrol

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"math/big"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/keepgate/keepgate/dataplane/enrol/enroltest"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

func keyOf(t *testing.T, path string) (text string) {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return string(data)
}

// A renewal makes a new key, seals what is kept for it before it is used, and destroys the one before.
func TestRenew(t *testing.T) {
	t.Parallel()
	c := enroltest.New(t)
	holdings := &kept{}
	f, m := joined(t, c, holdings, Options{})
	before, first := m.source.Identity(), keyOf(t, f.path(1, keyName))
	relinked := 0
	m.OnRenewal(func() {
		relinked++
		if m.source.Identity().Serial == before.Serial {
			t.Error("the link is made anew with the certificate from before")
		}
	})
	holdings.present = func() {
		if m.source.Identity().Serial != before.Serial {
			t.Error("the new certificate is in use before what is kept is sealed for it")
		}
	}
	c.Trust = enroltest.Bundle(6, c.Root)
	must(t, m.renew(t.Context(), c))
	after := m.source.Identity()
	if after.Serial == before.Serial || after.String() != before.String() || relinked != 1 || m.TrustSequence() != 6 {
		t.Errorf("from %v to %v; relinked %d times; sequence %d", before, after, relinked, m.TrustSequence())
	}
	if len(holdings.keys) != 1 || holdings.keys[0] != f.path(2, keyName) || len(holdings.former[0]) != 1 || holdings.former[0][0] != f.path(1, keyName) {
		t.Errorf("sealed for %v, before %v", holdings.keys, holdings.former)
	}
	if keyOf(t, f.path(2, keyName)) == first {
		t.Error("the key is the one from before")
	}
	if _, err := os.Stat(f.path(1, "")); !os.IsNotExist(err) {
		t.Errorf("the generation before is there: %v", err)
	}
	if serials := m.serials(after); len(serials) != 2 || serials[1] != before.Serial {
		t.Errorf("serials %v", serials)
	}
	if s := m.Status(); s.RenewedAt.IsZero() || !s.Joined || s.Serial != after.Serial {
		t.Errorf("status %+v", s)
	}
}

// Until sealing has succeeded, the certificate and every key stay.
func TestARenewalThatCannotSealChangesNothing(t *testing.T) {
	t.Parallel()
	c := enroltest.New(t)
	holdings := &kept{fail: errors.New("the disk is full")}
	f, m := joined(t, c, holdings, Options{})
	before := m.source.Identity().Serial
	for range 2 {
		if err := m.renew(t.Context(), c); err == nil || !strings.Contains(err.Error(), "the disk is full") {
			t.Errorf("renew = %v", err)
		}
	}
	if keys, err := f.OtherKeys(); err != nil || len(keys) != 2 || m.source.Identity().Serial != before {
		t.Errorf("other keys %v, %v; serial %s", keys, err, m.source.Identity().Serial)
	}
	holdings.fail = nil
	must(t, m.renew(t.Context(), c))
	if former := holdings.former[2]; len(former) != 3 {
		t.Errorf("what is kept may be sealed by any of the three keys from before, and was opened with %v", former)
	}
	if keys, err := f.OtherKeys(); err != nil || len(keys) != 0 {
		t.Errorf("other keys %v, %v", keys, err)
	}
}

func TestRenewRefusesWhatItCannotUse(t *testing.T) {
	t.Parallel()
	other := enroltest.NewAuthority(t, "other")
	for name, test := range map[string]struct {
		bend func(c *enroltest.Cluster)
		want string
	}{
		"another identity": {func(c *enroltest.Cluster) { c.Who.Name = "edge-2" }, "this is keepgate://data-plane/acme/prod/edge-1"},
		"another role": {func(c *enroltest.Cluster) {
			c.Who = identity.Identity{Role: identity.KMS, Organisation: "acme", Name: "edge-1"}
		}, "keepgate://kms"},
		"a foreign one": {func(c *enroltest.Cluster) {
			c.Sign = func(p crypto.PublicKey, id identity.Identity) *x509.Certificate {
				return other.Issue(t, p, id, time.Hour)
			}
		}, "wrong CA"},
		"one that is over": {func(c *enroltest.Cluster) { c.Life = -time.Millisecond }, "compare the clocks"},
		"a refusal":        {func(c *enroltest.Cluster) { c.Refuse = errors.New("it was revoked") }, "it was revoked"},
		"nothing": {func(c *enroltest.Cluster) {
			c.Sign = func(crypto.PublicKey, identity.Identity) *x509.Certificate { return &x509.Certificate{} }
		}, "reading the certificate"},
		"for another's key": {func(c *enroltest.Cluster) {
			c.Sign = func(_ crypto.PublicKey, id identity.Identity) *x509.Certificate {
				return c.Root.Issue(t, c.Root.Key.Public(), id, time.Hour)
			}
		}, "another key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := enroltest.New(t)
			holdings := &kept{}
			f, m := joined(t, c, holdings, Options{})
			test.bend(c)
			if err := m.renew(t.Context(), c); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("renew = %v, want %q", err, test.want)
			}
			if entries, err := os.ReadDir(f.dir); err != nil || len(entries) != 3 || len(holdings.keys) != 0 {
				t.Errorf("the folder holds %v, %v", entries, err)
			}
		})
	}
}

// A join that came in between is not undone by a renewal of the identity before it.
func TestARenewalGivesWayToAJoin(t *testing.T) {
	t.Parallel()
	c := enroltest.New(t)
	holdings := &kept{}
	f, m := joined(t, c, holdings, Options{})
	before, held, err := f.held()
	must(t, err)
	if _, err := f.add(held, func(*mtls.Source) error { return nil }); err != nil {
		t.Fatal(err)
	}
	must(t, f.use(2, before))
	if err := f.use(before, before); err == nil {
		t.Error("an older generation came back")
	}
	if number, err := f.current(); err != nil || number != 2 {
		t.Errorf("current %d, %v", number, err)
	}
	_ = m
}

// A certificate is renewed at two thirds of its life, and a bundle that is too long for the answer waits for the link.
func TestRunRenewsInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := enroltest.New(t)
		const life = 30 * 24 * time.Hour
		c.Life = life
		_, m := joined(t, c, &kept{}, Options{})
		began := time.Now()
		var at []time.Duration
		m.OnRenewal(func() { at = append(at, time.Since(began)) })
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- m.Run(ctx, c) }()
		time.Sleep(3 * life)
		synctest.Wait()
		if len(at) < 4 || len(at) > 5 {
			t.Fatalf("renewed at %v", at)
		}
		last := time.Duration(0)
		for _, moment := range at {
			if after := moment - last; after < life/3*2-life/29 || after > life/3*2+life/29 {
				t.Errorf("renewed after %v of %v", after, life)
			}
			last = moment
		}
		m.Renew("the authority is replaced")
		m.Renew("and again")
		time.Sleep(m.options.Spread)
		synctest.Wait()
		if n := len(at); at[n-1] < 3*life {
			t.Errorf("an order to renew was not followed: %v", at)
		}
		stop()
		<-ended
	})
}

// A certificate of a short life begins before it is given all the same; it is not renewed all the time for that.
func TestShortLives(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := enroltest.New(t)
		c.Life = 30 * time.Second
		_, m := joined(t, c, &kept{}, Options{})
		renewals := 0
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Minute)
		defer stop()
		m.OnRenewal(func() {
			if renewals++; renewals > 100 {
				stop()
			}
		})
		_ = m.Run(ctx, c)
		if renewals < 25 || renewals > 35 {
			t.Errorf("renewed %d times in ten minutes", renewals)
		}
	})
}

func TestRunGoesOnTrying(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := enroltest.New(t)
		const life = 6 * 24 * time.Hour
		c.Life, c.Refuse = life, errors.New("nobody is there")
		_, m := joined(t, c, &kept{}, Options{})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- m.Run(ctx, c) }()
		time.Sleep(life - time.Minute)
		synctest.Wait()
		s := m.Status()
		if s.RenewalFailures < 40 || s.RenewalFailures > 400 || s.RenewalProblem != "nobody is there" || s.Advice != "" {
			t.Errorf("before the end: %+v", s)
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		s = m.Status()
		for _, want := range []string{"expired", "keepgate-cp fleet invite --environment prod --name edge-1", "--again"} {
			if !strings.Contains(s.Advice, want) {
				t.Errorf("the advice lacks %q: %s", want, s.Advice)
			}
		}
		c.Mu.Lock()
		c.Refuse = nil
		c.Mu.Unlock()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if s := m.Status(); s.Advice != "" || s.RenewalProblem != "" || s.RenewalFailures == 0 {
			t.Errorf("after a renewal: %+v", s)
		}
		stop()
		<-ended
	})
}

func TestPauses(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		first := time.Duration(rapid.Int64Range(1, int64(time.Minute)).Draw(t, "first"))
		failures := rapid.IntRange(1, 1<<30).Draw(t, "failures")
		left := time.Duration(rapid.Int64Range(-int64(time.Hour), int64(1000*time.Hour)).Draw(t, "left"))
		pause := pauseAfter(failures, first, left)
		if pause < first/2 || pause > 3*longestPause/2 {
			t.Fatalf("a pause of %v", pause)
		}
		if left > 10*first && pause > 3*left/20 {
			t.Fatalf("a pause of %v with %v left", pause, left)
		}
		from := time.Unix(rapid.Int64Range(0, 1<<32).Draw(t, "from"), 0)
		life := time.Duration(rapid.Int64Range(1, int64(10*365*24*time.Hour)).Draw(t, "life"))
		due := dueAt(&x509.Certificate{NotBefore: from, NotAfter: from.Add(life), SerialNumber: big.NewInt(1)}, time.Time{})
		if due.Before(from.Add(life/2)) && life > 10 || due.After(from.Add(life/4*3+4)) {
			t.Fatalf("of %v from %v: due %v", life, from, due)
		}
	})
}

func TestAnOperatorsCertificateIsNotRenewed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := enroltest.New(t)
		f, joined := joined(t, c, &kept{}, Options{})
		m := Appointed(f, joined.source, f.CertFile(), &kept{}, Options{})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		issued := c.Issued
		go func() { ended <- m.Run(ctx, c) }()
		m.Renew("the authority is replaced")
		time.Sleep(48 * time.Hour)
		synctest.Wait()
		if c.Issued != issued || !strings.Contains(m.Status().Advice, "issue another one") {
			t.Errorf("issued %d; %+v", c.Issued, m.Status())
		}
		stop()
		<-ended
	})
}
