package stream_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/changefeed"
	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/fleet"
	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/local"
	"github.com/keepgate/keepgate/controlplane/publish"
	"github.com/keepgate/keepgate/controlplane/publish/stream"
	"github.com/keepgate/keepgate/controlplane/publish/wire"
	"github.com/keepgate/keepgate/controlplane/store/sqlite"
	"github.com/keepgate/keepgate/e2e/ports"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/grpccreds"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
)

const serverName = "cp.example"

// Heartbeats come so often that a test of silence need not wait, or so seldom that a busy machine never cuts a link
// whose messages are counted: three of them without a word end it.
const (
	calm   = 5 * time.Second
	lively = time.Second
)

var entities = sync.OnceValue(func() *schema.Schema { return schema.New(plugins.All()) })

// controlPlane is one from the database to the socket; its folder and certificates outlive a restart.
type controlPlane struct {
	t         testing.TB
	ca        *mtlstest.CA
	folder    string
	files     mtls.Files
	heartbeat time.Duration
	retry     time.Duration
	patience  time.Duration
	poll      time.Duration
	address   string
	first     *controlPlane // whose database this one shares; nil: it has its own
	keys      *losing

	store     *sqlite.Store
	ring      *keyring.Ring
	catalog   *catalog.Catalog
	feed      *changefeed.Feed
	publisher *publish.Publisher

	gatekeeper stream.Gatekeeper
	fleet      *fleet.Fleet
	workspace  string
	wire       *wiretap
	source     *mtls.Source
	unlink     func() // ends the links, and nothing else
	stop       func()
}

// beating starts again with another heartbeat.
func (cp *controlPlane) beating(heartbeat time.Duration) *controlPlane {
	cp.t.Helper()
	cp.heartbeat = heartbeat
	cp.restart()
	return cp
}

func newControlPlane(t testing.TB) *controlPlane {
	t.Helper()
	ca := mtlstest.NewCA(t, "cluster")
	pair := ca.Issue(t, mtlstest.Leaf{Identity: identity.Identity{Role: identity.ControlPlane, Organisation: "default", Name: "cp"}, DNS: []string{serverName}})
	cp := &controlPlane{
		t: t, ca: ca, folder: t.TempDir(), files: ca.Files(t, pair), heartbeat: calm, retry: 100 * time.Millisecond,
		patience: 300 * time.Millisecond, poll: 50 * time.Millisecond, address: freeAddress(t), keys: &losing{missing: map[string]bool{}},
	}
	cp.start()
	return cp
}

// freeAddress stays the test's while its server is down.
func freeAddress(t testing.TB) string {
	t.Helper()
	port, err := ports.Claim()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// another starts a second node over the same database and ring.
func (cp *controlPlane) another(change func(*controlPlane)) *controlPlane {
	cp.t.Helper()
	node := &controlPlane{
		t: cp.t, ca: cp.ca, files: cp.files, heartbeat: cp.heartbeat, retry: cp.retry, patience: cp.patience, poll: cp.poll,
		address: freeAddress(cp.t), keys: &losing{missing: map[string]bool{}, lent: true}, first: cp,
	}
	if change != nil {
		change(node)
	}
	node.start()
	return node
}

// losing is a ring that keys can be taken from. It outlives restarts.
type losing struct {
	encryption.Keys
	lent    bool // another node follows the ring
	mu      sync.Mutex
	missing map[string]bool // guarded by mu
}

// take takes a key, give gives all back.
func (l *losing) take(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.missing[id] = true
}

func (l *losing) give() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.missing)
}

func (l *losing) away(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.missing[id]
}

func (l *losing) Key(id string) (*aead.Key, error) {
	if l.away(id) {
		return nil, fault.Newf(fault.Unavailable, "keyring.Key", "key/"+id, "its material is missing")
	}
	return l.Keys.Key(id)
}

func (l *losing) Active() (string, *aead.Key, error) {
	id, key, err := l.Keys.Active()
	if err == nil && l.away(id) {
		return id, nil, fault.Newf(fault.Unavailable, "keyring.Active", "key/"+id, "its material is missing")
	}
	return id, key, err
}

func (l *losing) Follow(ctx context.Context, follow func(ctx context.Context) error) error {
	if l.lent {
		return follow(ctx)
	}
	return l.Keys.Follow(ctx, follow)
}

func (l *losing) Held() []string { return slices.DeleteFunc(l.Keys.Held(), l.away) }

func (cp *controlPlane) must(err error) {
	cp.t.Helper()
	if err != nil {
		cp.t.Fatal(err)
	}
}

func (cp *controlPlane) start() {
	cp.t.Helper()
	ctx := context.Background()
	var err error
	if cp.first != nil {
		cp.store, cp.ring = cp.first.store, cp.first.ring
	} else {
		cp.store, err = sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(cp.folder, "keep.db")})
		cp.must(err)
		cp.must(cp.store.Migrate(ctx))
		cp.ring, err = keyring.Open(ctx, cp.store, local.New(filepath.Join(cp.folder, "keyring.key")), nil, keyring.Options{})
		cp.must(err)
	}
	cp.keys.Keys = cp.ring
	cipher, err := encryption.New(ctx, cp.store, encryption.FromSettings(cp.keys, encryption.Options{}))
	cp.must(err)
	cp.catalog = catalog.New(cp.store, entities(), cipher, catalog.Options{})
	cp.must(cp.catalog.Start(ctx))
	cp.workspace, err = cp.catalog.Workspace(ctx, "")
	cp.must(err)
	quiet := slog.New(slog.DiscardHandler)
	cp.feed = changefeed.New(cp.store, changefeed.Options{Poll: cp.poll})
	cp.fleet = fleet.New(cp.store, fleet.Options{})
	cp.publisher = publish.New(cp.store, cp.feed, cp.catalog, cp.fleet, entities(), quiet)
	cp.run(quiet)
}

// run follows the database and serves data planes.
func (cp *controlPlane) run(log *slog.Logger) {
	cp.t.Helper()
	var err error
	cp.source, err = mtls.OpenWith(cp.files, mtls.Options{Poll: 200 * time.Millisecond, Log: log})
	cp.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() { _ = cp.source.Run(ctx) })
	parts.Go(func() { _ = cp.publisher.Run(ctx) })
	parts.Go(func() { _ = cp.fleet.Run(ctx) })
	cp.wire = &wiretap{}
	cp.link(log)
	store := cp.store
	cp.stop = sync.OnceFunc(func() {
		cp.unlink()
		cancel()
		parts.Wait()
		if cp.first == nil {
			_ = store.Close()
		}
	})
	cp.t.Cleanup(cp.stop)
}

// link opens the socket, at the address it had before.
func (cp *controlPlane) link(log *slog.Logger) {
	cp.t.Helper()
	listen, err := net.Listen("tcp", cp.address)
	cp.must(err)
	server := grpc.NewServer(grpc.Creds(grpccreds.Server(cp.source, log, identity.DataPlane)), grpc.StreamInterceptor(cp.wire.intercept))
	syncv1.RegisterSyncServiceServer(server, stream.New(cp.publisher, cp.fleet, cp.source, stream.Options{
		Name: "cp", Version: "test", Gatekeeper: cp.gatekeeper, Heartbeat: cp.heartbeat, StorageRetry: cp.retry, Patience: cp.patience, Log: log,
	}))
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Serve(listen) }()
	cp.unlink = sync.OnceFunc(func() { server.Stop(); <-ended })
}

func (cp *controlPlane) restart() {
	cp.t.Helper()
	cp.stop()
	cp.start()
}

func (cp *controlPlane) insert(table, body string) {
	cp.t.Helper()
	document, err := schema.ParseJSON([]byte(body))
	cp.must(err)
	_, err = cp.catalog.Insert(cp.t.Context(), catalog.Address{Table: table, Workspace: cp.workspace}, document)
	cp.must(err)
	cp.feed.Wake()
}

func (cp *controlPlane) service(name string) {
	cp.insert("services", fmt.Sprintf(`{"name":%q,"host":"backend.example"}`, name))
}

func (cp *controlPlane) remove(table, key string) {
	cp.t.Helper()
	cp.must(cp.catalog.Delete(cp.t.Context(), catalog.Address{Table: table, Workspace: cp.workspace, Key: key}))
	cp.feed.Wake()
}

// caughtUp waits until the publisher shows all that is committed.
func (cp *controlPlane) caughtUp() (epoch, version uint64, hash [32]byte) {
	cp.t.Helper()
	return cp.caughtUpIn(wire.DefaultEnvironment)
}

func (cp *controlPlane) caughtUpIn(environment string) (epoch, version uint64, hash [32]byte) {
	cp.t.Helper()
	eventually(cp.t, "the publisher shows the newest revision", func() bool {
		head, err := cp.store.Head(cp.t.Context())
		cp.must(err)
		e, v, h, ok := cp.publisher.Current(environment)
		epoch, version, hash = e, v, h
		return ok && cp.publisher.Seen() == head
	})
	return epoch, version, hash
}

// status is what the fleet says of a data plane.
func (cp *controlPlane) status(dp *dataPlane) fleet.Status {
	cp.t.Helper()
	list, err := cp.fleet.List(cp.t.Context())
	cp.must(err)
	for _, s := range list {
		if s.NodeID == dp.id {
			return s
		}
	}
	return fleet.Status{}
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("it never happened that %s", what)
}
