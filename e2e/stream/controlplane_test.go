package stream_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
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
	"github.com/keepgate/keepgate/controlplane/store/sqlite"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/grpccreds"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
)

const serverName = "cp.example"

var entities = sync.OnceValue(func() *schema.Schema { return schema.New(plugins.All()) })

// controlPlane is one from the database to the socket; its folder and certificates outlive a restart.
type controlPlane struct {
	t         testing.TB
	ca        *mtlstest.CA
	folder    string
	files     mtls.Files
	heartbeat time.Duration
	retry     time.Duration
	address   string

	store     *sqlite.Store
	catalog   *catalog.Catalog
	feed      *changefeed.Feed
	publisher *publish.Publisher
	fleet     *fleet.Fleet
	workspace string
	wire      *wiretap
	stop      func()
}

// wiretap counts and may change what a control plane sends.
type wiretap struct {
	mu     sync.Mutex
	chunks []*syncv1.Chunk                   // guarded by mu
	change func(*syncv1.Chunk) *syncv1.Chunk // guarded by mu
	hold   atomic.Bool                       // nothing is sent
}

func newControlPlane(t testing.TB) *controlPlane {
	t.Helper()
	ca := mtlstest.NewCA(t, "cluster")
	pair := ca.Issue(t, mtlstest.Leaf{Identity: mtls.Identity{Role: mtls.ControlPlane, Organisation: "default", Name: "cp"}, DNS: []string{serverName}})
	cp := &controlPlane{t: t, ca: ca, folder: t.TempDir(), files: ca.Files(t, pair), heartbeat: 100 * time.Millisecond, retry: 100 * time.Millisecond, address: "127.0.0.1:0"}
	cp.start()
	return cp
}

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
	cp.store, err = sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(cp.folder, "keep.db")})
	cp.must(err)
	cp.must(cp.store.Migrate(ctx))
	ring, err := keyring.Open(ctx, cp.store, local.New(filepath.Join(cp.folder, "keyring.key")), nil, keyring.Options{})
	cp.must(err)
	cipher, err := encryption.New(ctx, cp.store, ring, encryption.Options{})
	cp.must(err)
	cp.catalog = catalog.New(cp.store, entities(), cipher, catalog.Options{})
	cp.must(cp.catalog.Start(ctx))
	cp.workspace, err = cp.catalog.Workspace(ctx, "")
	cp.must(err)
	quiet := slog.New(slog.DiscardHandler)
	cp.feed = changefeed.New(cp.store, changefeed.Options{Poll: 50 * time.Millisecond})
	cp.publisher = publish.New(cp.store, cp.feed, cp.catalog, entities(), quiet)
	cp.fleet = fleet.New(cp.store, fleet.Options{})
	cp.serve(quiet)
}

// serve opens the socket, at the address it had before a restart.
func (cp *controlPlane) serve(log *slog.Logger) {
	cp.t.Helper()
	source, err := mtls.OpenWith(cp.files, mtls.Options{Poll: 200 * time.Millisecond, Log: log})
	cp.must(err)
	listen, err := net.Listen("tcp", cp.address)
	cp.must(err)
	cp.address = listen.Addr().String()
	cp.wire = &wiretap{}
	server := grpc.NewServer(grpc.Creds(grpccreds.Server(source, log, mtls.DataPlane)), grpc.StreamInterceptor(cp.wire.intercept))
	syncv1.RegisterSyncServiceServer(server, publish.NewServer(cp.publisher, cp.fleet, source, publish.ServerOptions{
		Name: "cp", Version: "test", Heartbeat: cp.heartbeat, StorageRetry: cp.retry, Patience: 3 * cp.heartbeat, Log: log,
	}))
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() { _ = source.Run(ctx) })
	parts.Go(func() { _ = cp.publisher.Run(ctx) })
	parts.Go(func() { _ = cp.fleet.Run(ctx) })
	parts.Go(func() { _ = server.Serve(listen) })
	store := cp.store
	cp.stop = sync.OnceFunc(func() {
		server.Stop()
		cancel()
		parts.Wait()
		_ = store.Close()
	})
	cp.t.Cleanup(cp.stop)
}

func (cp *controlPlane) restart() {
	cp.t.Helper()
	cp.stop()
	cp.start()
}

func (w *wiretap) intercept(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	return next(server, &tapped{stream, w})
}

type tapped struct {
	grpc.ServerStream
	wire *wiretap
}

func (s *tapped) SendMsg(message any) error {
	for s.wire.hold.Load() && s.Context().Err() == nil {
		time.Sleep(time.Millisecond)
	}
	if chunk := message.(*syncv1.StreamResponse).GetChunk(); chunk != nil {
		s.wire.mu.Lock()
		if s.wire.change != nil {
			chunk = s.wire.change(chunk)
			message = &syncv1.StreamResponse{Message: &syncv1.StreamResponse_Chunk{Chunk: chunk}}
		}
		s.wire.chunks = append(s.wire.chunks, chunk)
		s.wire.mu.Unlock()
	}
	return s.ServerStream.SendMsg(message)
}

// sent returns the chunks that were sent since the last time it was asked.
func (w *wiretap) sent() []*syncv1.Chunk {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.chunks
	w.chunks = nil
	return all
}

func (w *wiretap) meddle(change func(*syncv1.Chunk) *syncv1.Chunk) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.change = change
}

func (cp *controlPlane) insert(table, body string) {
	cp.t.Helper()
	document, err := schema.ParseJSON([]byte(body))
	cp.must(err)
	_, err = cp.catalog.Insert(cp.t.Context(), catalog.Address{Table: table, Workspace: cp.workspace}, document)
	cp.must(err)
	cp.feed.Wake()
}

func (cp *controlPlane) consumer(name string) {
	cp.insert("consumers", fmt.Sprintf(`{"username":%q}`, name))
}

func (cp *controlPlane) remove(table, key string) {
	cp.t.Helper()
	cp.must(cp.catalog.Delete(cp.t.Context(), catalog.Address{Table: table, Workspace: cp.workspace, Key: key}))
	cp.feed.Wake()
}

// caughtUp waits until the publisher shows all that is committed.
func (cp *controlPlane) caughtUp() (epoch, version uint64, hash [32]byte) {
	cp.t.Helper()
	eventually(cp.t, "the publisher shows the newest revision", func() bool {
		head, err := cp.store.Head(cp.t.Context())
		cp.must(err)
		e, v, h, ok := cp.publisher.Current(publish.DefaultEnvironment)
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
	for end := time.Now().Add(6 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("it never happened that %s", what)
}
