package mtlsauth

import (
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"
)

// chainOf are made-up certificates.
func chainOf(names ...string) []*x509.Certificate {
	var list []*x509.Certificate
	for _, name := range names {
		list = append(list, &x509.Certificate{Raw: []byte(name)})
	}
	return list
}

func TestChainsAreToldApart(t *testing.T) {
	t.Parallel()
	seen := map[presented][]string{}
	for _, names := range [][]string{{"a"}, {"b"}, {"a", "b"}, {"b", "a"}, {"ab"}, {"a", "b", "c"}, {"a", "bc"}, {"a", ""}, {""}} {
		key := presentedBy(chainOf(names...))
		if before, found := seen[key]; found {
			t.Errorf("%q is taken for %q", names, before)
		}
		seen[key] = names
	}
}

func TestACacheIsBounded(t *testing.T) {
	t.Parallel()
	c, now := newCache(), time.Now()
	for i := range maxAccepted + 100 {
		for _, refusal := range []string{"", "no"} {
			chain := chainOf(fmt.Sprint(i, refusal))
			c.keep(chain, presentedBy(chain), &verdict{until: now.Add(time.Hour), refusal: refusal}, now)
		}
	}
	if len(c.accepted) != maxAccepted || len(c.refused) != maxRefused || len(c.recent) != maxAccepted {
		t.Errorf("%d accepted, %d refused, %d recent", len(c.accepted), len(c.refused), len(c.recent))
	}
}

// A client may add certificates to its chain: what it adds is not held.
func TestLargeChainsAreFoundByTheirBytesAlone(t *testing.T) {
	t.Parallel()
	c, now := newCache(), time.Now()
	chain := chainOf("a", strings.Repeat("b", maxRecentBytes))
	v := &verdict{until: now.Add(time.Minute)}
	c.keep(chain, presentedBy(chain), v, now)
	if found, _ := c.find(chain, now); found != v || len(c.recent) != 0 {
		t.Errorf("found: %v, %d recent", found == v, len(c.recent))
	}
}

func TestAVerdictIsFoundByTheCertificatesAndByTheirBytes(t *testing.T) {
	t.Parallel()
	c, now := newCache(), time.Now()
	first, same, longer := chainOf("a", "b"), chainOf("a", "b"), chainOf("a", "b", "c")
	v := &verdict{from: now.Add(-time.Minute), until: now.Add(time.Minute)}
	c.keep(first, presentedBy(first), v, now)
	for range 2 {
		for name, chain := range map[string][]*x509.Certificate{"the very ones": first, "the same bytes": same, "the same leaf": {first[0], same[1]}} {
			if found, _ := c.find(chain, now); found != v {
				t.Errorf("%s: not found", name)
			}
		}
		for name, chain := range map[string][]*x509.Certificate{"longer": longer, "the same leaf, and more": append(first[:2:2], longer[2]), "shorter": first[:1]} {
			if found, _ := c.find(chain, now); found != nil {
				t.Errorf("%s: found", name)
			}
		}
		for _, at := range []time.Time{now.Add(time.Minute), now.Add(-2 * time.Minute)} {
			if found, _ := c.find(first, at); found != nil {
				t.Errorf("found at %v", at)
			}
		}
	}
}
