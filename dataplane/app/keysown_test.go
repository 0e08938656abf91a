package app

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/apply"
	"github.com/keepgate/keepgate/dataplane/enrol"
	"github.com/keepgate/keepgate/dataplane/localstore"
	"github.com/keepgate/keepgate/shared/localkeys"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/mtls/privatekey"
	"github.com/keepgate/keepgate/shared/secret"
)

// appointed is a data plane whose certificate is in files that somebody else keeps.
func appointed(t *testing.T, prefix string, files mtls.Files, log *lines) *plane {
	t.Helper()
	p := planeIn(t, prefix, enrol.Disk{})
	c := &p.settings.Cluster
	c.Cert, c.Key, c.CACert, c.CRL = files.Cert, files.Key, files.CA, files.CRL
	p.log = slog.New(slog.NewTextHandler(log, nil))
	if err := p.open(); err != nil {
		t.Fatal(err)
	}
	return p
}

// The files of a certificate are replaced while the node runs, the private key with them: a restart finds what it held, and
// the key before opens nothing.
func TestAnotherPrivateKeyUnderWay(t *testing.T) {
	t.Parallel()
	ca, prefix, log := mtlstest.NewCA(t, "ca"), t.TempDir(), &lines{}
	first := ca.Files(t, ca.Issue(t, mtlstest.Leaf{}))
	before := mtls.Files{Cert: first.Cert + ".before", Key: first.Key + ".before", CA: first.CA, CRL: first.CRL}
	next := ca.Files(t, ca.Issue(t, mtlstest.Leaf{}))
	move := func(from, to string) {
		t.Helper()
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		mtlstest.Write(t, to, data)
	}
	move(first.Cert, before.Cert)
	move(first.Key, before.Key)

	p := appointed(t, prefix, first, log)
	p.applier.Start(apply.State{})
	give(t, p, 3)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = p.followOwn(ctx) })
	end := sync.OnceFunc(func() { stop(); running.Wait() })
	defer end()
	move(next.Key, first.Key)
	move(next.Cert, first.Cert)
	if err := p.belonging.source.Reload(); err != nil {
		t.Fatal(err)
	}
	for waited := 0; ; waited++ {
		p.keys.mu.Lock()
		done := !p.keys.ownKey.pending && p.keys.ownKey.roots[0].Equal(mustRoot(t, next.Key))
		p.keys.mu.Unlock()
		if done {
			break
		}
		if waited > 3000 {
			t.Fatalf("it is never sealed by the next key:\n%s", log.bytes())
		}
		time.Sleep(10 * time.Millisecond)
	}
	end()
	give(t, p, 4)
	if err := p.store.Close(); err != nil {
		t.Fatal(err)
	}

	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(prefix)); err != nil {
		t.Fatal(err)
	}
	old := appointed(t, copied, before, log)
	if _, holds := old.applier.Held(); holds || old.store.Report().Status != localstore.Unopenable {
		t.Errorf("the key before opens %+v", old.store.Report())
	}
	if err := old.store.Close(); err != nil {
		t.Fatal(err)
	}
	p = appointed(t, prefix, first, log)
	mustHold(t, "after a restart", p, 4)
	if r := p.store.Report(); r.Rewritten != "" {
		t.Errorf("%+v", r)
	}
	if err := p.store.Close(); err != nil {
		t.Fatal(err)
	}
	mustHideKeys(t, "afterwards", filepath.Join(prefix, "store"), log.bytes())
}

func mustRoot(t *testing.T, key string) secret.Bytes {
	t.Helper()
	root, err := privatekey.DeriveFile(key, storeKeyLabel, 32)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// A node that was shut out seals nothing by keys that were wiped.
func TestNoKeysAfterTheEnd(t *testing.T) {
	t.Parallel()
	ca, log := mtlstest.NewCA(t, "ca"), &lines{}
	p := appointed(t, t.TempDir(), ca.Files(t, ca.Issue(t, mtlstest.Leaf{})), log)
	p.applier.Start(apply.State{})
	give(t, p, 1)
	p.forgetKeys()
	derive := func() (*localkeys.Ring, error) {
		t.Error("a key is derived from what was wiped")
		return nil, errors.New("no key")
	}
	if err := p.rewrap(derive); !errors.Is(err, errKeysOver) {
		t.Errorf("another key of its own: %v", err)
	}
	if err := p.take(nil); !errors.Is(err, errKeysOver) {
		t.Errorf("other scoped keys: %v", err)
	}
	if err := p.sealByOwn(p.belonging.source); err != nil {
		t.Errorf("the key of its certificate: %v", err)
	}
	if err := p.store.Close(); err != nil {
		t.Fatal(err)
	}
}
