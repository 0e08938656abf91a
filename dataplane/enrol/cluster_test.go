package enrol

import (
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/keepgate/keepgate/dataplane/enrol/enroltest"
	"github.com/keepgate/keepgate/shared/enrolment"
	"github.com/keepgate/keepgate/shared/mtls/privatekey"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// joined makes a member without a network.
func joined(t testing.TB, c *enroltest.Cluster, holdings Holdings, options Options) (*Folder, *Member) {
	t.Helper()
	f := At(filepath.Join(t.TempDir(), "cluster"))
	must(t, f.MakeRoom())
	key, text, request, err := newKey("")
	must(t, err)
	issued, err := c.Certify(request)
	must(t, err)
	answer := &enrolment.Answer{Issued: issued, From: c.Source.Identity(), TLS: c.Shown()}
	_, _, err = f.settle(Wish{}, key, text, answer)
	must(t, err)
	source, err := f.Open(slog.New(slog.DiscardHandler))
	must(t, err)
	return f, Joined(f, source, holdings, options)
}

// kept is the Holdings of a test.
type kept struct {
	mu      sync.Mutex
	keys    []string // of every Rewrap
	former  [][]string
	fail    error
	erased  []Wiped
	present func() // looked at by each Rewrap
}

func (k *kept) Rewrap(key string, former []string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, path := range append(slices.Clone(former), key) {
		if _, err := privatekey.Read(path); err != nil {
			return err
		}
	}
	if k.present != nil {
		k.present()
	}
	k.keys, k.former = append(k.keys, key), append(k.former, former)
	return k.fail
}

func (k *kept) Erase(order Wiped) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.erased = append(k.erased, order)
	return nil
}
