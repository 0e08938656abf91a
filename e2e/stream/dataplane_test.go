package stream_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keepgate/keepgate/dataplane/apply"
	"github.com/keepgate/keepgate/dataplane/localstore"
	"github.com/keepgate/keepgate/dataplane/uplink"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/configset"
	"github.com/keepgate/keepgate/shared/localkeys"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/grpccreds"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
)

// dataPlane is one from the socket to the disk; its folder and certificate outlive a restart.
type dataPlane struct {
	t      testing.TB
	id     string
	folder string

	environment string
	pair        mtlstest.Pair
	files       mtls.Files
	addresses   []string
	diskFull    atomic.Bool
	slow        atomic.Int64 // milliseconds that a compile takes
	installed   atomic.Int64
	log         logged

	applier *apply.Applier
	link    *uplink.Uplink
	stop    func()
}

func defaultLeaf(name string) mtlstest.Leaf {
	return mtlstest.Leaf{Identity: identity.Identity{Role: identity.DataPlane, Organisation: "default", Environment: "default", Name: name}}
}

func (cp *controlPlane) dataPlane(leaf mtlstest.Leaf) *dataPlane {
	cp.t.Helper()
	pair := cp.ca.Issue(cp.t, leaf)
	return &dataPlane{t: cp.t, environment: leaf.Identity.Environment, id: uuid.NewString(), folder: cp.t.TempDir(), pair: pair, files: cp.ca.Files(cp.t, pair), addresses: []string{cp.address}}
}

// linked starts a data plane and waits until it holds what it should.
func (cp *controlPlane) linked(name string) *dataPlane {
	cp.t.Helper()
	dp := cp.dataPlane(defaultLeaf(name))
	dp.start()
	cp.holds(dp)
	return dp
}

// holds waits until a data plane serves the newest configuration, and the fleet says so. The newest may change
// meanwhile without a revision: a key that is back opens rows.
func (cp *controlPlane) holds(dp *dataPlane) {
	cp.t.Helper()
	cp.caughtUpIn(dp.environment)
	eventually(cp.t, "the data plane holds the newest configuration", func() bool {
		epoch, _, hash, shown := cp.publisher.Current(dp.environment)
		state, ok := dp.applier.Held()
		return shown && ok && state.Epoch == epoch && state.Set.Hash() == hash && cp.status(dp).SyncStatus == "normal"
	})
}

func (dp *dataPlane) start() {
	dp.t.Helper()
	source, err := mtls.OpenWith(dp.files, mtls.Options{Poll: 200 * time.Millisecond})
	if err != nil {
		dp.t.Fatal(err)
	}
	secret, err := source.DeriveKey("localstore", 32)
	if err != nil {
		dp.t.Fatal(err)
	}
	ring, err := localkeys.New(secret)
	if err != nil {
		dp.t.Fatal(err)
	}
	var held apply.Opened
	store, found, err := localstore.Open(filepath.Join(dp.folder, "store"), localstore.Options{Mode: localstore.AES256GCM, Keys: ring, Node: dp.id, Verify: held.Verify})
	if err != nil {
		dp.t.Fatal(err)
	}
	dp.applier = apply.New(dp, &disk{apply.NewStoreKeeper(store, entities(), "default", slog.New(slog.DiscardHandler)), dp})
	if store.Report().Status != localstore.Fresh {
		dp.applier.Start(apply.State{Epoch: found.Epoch, Version: found.Version, Set: held.Set})
	}
	var endpoints []uplink.Endpoint
	for _, address := range dp.addresses {
		endpoints = append(endpoints, uplink.Endpoint{Address: address, Credentials: grpccreds.Client(source, serverName, identity.ControlPlane)})
	}
	dp.link = uplink.New(endpoints, dp.applier, uplink.Node{
		ID: dp.id, Hostname: "host", Version: "test", CertificateExpires: func() time.Time { return source.Identity().NotAfter },
	}, uplink.Options{FirstPause: 20 * time.Millisecond, LongestPause: 200 * time.Millisecond, Report: 50 * time.Millisecond, Log: slog.New(slog.NewTextHandler(&dp.log, nil))})
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() { _ = source.Run(ctx) })
	parts.Go(func() { _ = dp.link.Run(ctx) })
	dp.stop = sync.OnceFunc(func() {
		cancel()
		parts.Wait()
		_ = store.Close()
	})
	dp.t.Cleanup(func() {
		dp.stop()
		if dp.t.Failed() {
			dp.t.Logf("the log of a data plane:\n%s", dp.log.tail())
		}
	})
}

func (dp *dataPlane) restart() {
	dp.t.Helper()
	dp.stop()
	dp.start()
}

func (dp *dataPlane) state() apply.State {
	state, _ := dp.applier.Held()
	return state
}

// Compile does as little as a table of nothing; it may be slow.
func (dp *dataPlane) Compile(configset.Set) (func(), []*syncv1.Quarantined) {
	time.Sleep(time.Duration(dp.slow.Load()) * time.Millisecond)
	return func() { dp.installed.Add(1) }, nil
}

// disk is the local store of a disk that may be full.
type disk struct {
	*apply.StoreKeeper
	dp *dataPlane
}

var errFull = errors.New("no space left on device")

func (d *disk) Replace(s apply.State) error {
	if d.dp.diskFull.Load() {
		return errFull
	}
	return d.StoreKeeper.Replace(s)
}

func (d *disk) Append(next apply.State, delta configset.Delta) error {
	if d.dp.diskFull.Load() {
		return errFull
	}
	return d.StoreKeeper.Append(next, delta)
}

// logged is a log that may be read while it is written.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (l *logged) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *logged) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.text.Bytes(), []byte(text))
}

func (l *logged) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.text.Bytes()
	return string(all[max(0, len(all)-1200):])
}
