package fleet_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/fleet"
	"github.com/keepgate/keepgate/controlplane/record"
)

// memory keeps rows, and counts how often all of them are read.
type memory struct {
	mu    sync.Mutex
	rows  map[string]record.Node
	reads int
}

func (m *memory) PutNode(_ context.Context, node record.Node) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows[node.ID] = node
	return nil
}

func (m *memory) Nodes(context.Context) ([]record.Node, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	return slices.Collect(maps.Values(m.rows)), nil
}

func (m *memory) ForgetNodes(context.Context, int64) error { return nil }

// TestALargeFleetIsReadAtOnce: one query, however many there are and whatever is known of them.
func TestALargeFleetIsReadAtOnce(t *testing.T) {
	t.Parallel()
	const many = 5000
	store := &memory{rows: map[string]record.Node{}}
	f, stop := start(t, store)
	plugins := map[string]string{}
	for i := range 20 {
		plugins[fmt.Sprintf("plugin-%d", i)] = "3.8.1"
	}
	for i := range many {
		who := certificate(fmt.Sprintf("edge-%04d", i))
		who.Environment = []string{"prod", "staging"}[i%2]
		s := f.Join(who, fleet.Label{NodeID: fmt.Sprint(i), Labels: map[string]string{"region": "eu"}, Plugins: plugins}, fleet.Held{Version: uint64(i)})
		s.Trust(7)
		s.Leave()
	}
	await(t, "the rows are written", func() bool {
		store.mu.Lock()
		defer store.mu.Unlock()
		return len(store.rows) == many
	})
	stop()
	store.reads = 0
	other := fleet.New(store, fleet.Options{})
	began := time.Now()
	all, err := other.List(t.Context())
	if err != nil || len(all) != many || store.reads != 1 {
		t.Fatalf("%d of %d data planes by %d queries (%v)", len(all), many, store.reads, err)
	}
	t.Logf("%d data planes are listed in %v", many, time.Since(began))
	if all[1].TrustSequence != 7 || len(all[1].Plugins) != len(plugins) || all[1].Environment != "prod" {
		t.Errorf("one of them: %+v", all[1])
	}
}

// TestOneNameInTwoEnvironments: what a data plane says of itself, its id among it, never touches the row of another.
func TestOneNameInTwoEnvironments(t *testing.T) {
	t.Parallel()
	store := newDatabase(t)
	f, stop := start(t, store)
	prod, staging := certificate("edge"), certificate("edge")
	prod.Environment, staging.Environment = "prod", "staging"
	f.Join(prod, fleet.Label{NodeID: "a", Hostname: "one"}, fleet.Held{Version: 1})
	f.Join(staging, fleet.Label{NodeID: "a", Hostname: "other"}, fleet.Held{Version: 2})
	stop()
	all, err := fleet.New(store, fleet.Options{}).List(t.Context())
	if err != nil || len(all) != 2 || all[0].Environment == all[1].Environment || all[0].Hostname == all[1].Hostname {
		t.Errorf("%+v %v", all, err)
	}
}

func TestWhoIsGoneIsForgotten(t *testing.T) {
	t.Parallel()
	store := newDatabase(t)
	row := func(id string, age time.Duration) {
		t.Helper()
		node := record.Node{ID: id, Organisation: "o", Environment: "prod", Seen: time.Now().Add(-age).Unix(), Body: []byte(`{"name":"` + id + `"}`)}
		if err := store.Store.PutNode(t.Context(), node); err != nil {
			t.Fatal(err)
		}
	}
	row("long-gone", 3*time.Hour)
	row("gone", time.Hour)
	row("here", time.Minute)
	options := fleet.Options{PurgeDelay: 2 * time.Hour}
	f := fleet.New(store, options)
	if all := list(t, f); len(all) != 2 {
		t.Errorf("before the rows are dropped: %v", all)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = f.Run(ctx) // a start that is stopped drops what it finds, or leaves it to the next one
	running, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- fleet.New(store, options).Run(running) }()
	await(t, "the row is dropped", func() bool { nodes, err := store.Nodes(t.Context()); return err == nil && len(nodes) == 2 })
	stop()
	<-done
}

// remembering counts when rows are dropped.
type remembering struct{ forgotten []time.Duration }

func (r *remembering) PutNode(context.Context, record.Node) error   { return nil }
func (r *remembering) Nodes(context.Context) ([]record.Node, error) { return nil, nil }
func (r *remembering) ForgetNodes(_ context.Context, before int64) error {
	r.forgotten = append(r.forgotten, time.Since(time.Unix(before, 0)).Round(time.Second))
	return nil
}

func TestAShortPurgeDelayIsKept(t *testing.T) {
	t.Parallel()
	for delay, want := range map[time.Duration]int{time.Minute: 11, 14 * 24 * time.Hour: 1} {
		synctest.Test(t, func(t *testing.T) {
			store := &remembering{}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute+time.Second)
			defer cancel()
			_ = fleet.New(store, fleet.Options{PurgeDelay: delay}).Run(ctx)
			if len(store.forgotten) != want || store.forgotten[0] != delay {
				t.Errorf("with %v rows were dropped %v", delay, store.forgotten)
			}
		})
	}
}

func TestLabelsAreHeldToTheirRules(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	f := fleet.New(newDatabase(t), fleet.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	s := f.Join(certificate("edge"), fleet.Label{NodeID: "a", Labels: map[string]string{
		"region": "eu", "tier.a": "edge_1", "Upper": "x", "kong-x": "y", "konnect": "y", "": "y", "empty": "", "e": "É",
		strings.Repeat("a", 64): "long", "nl": "a\nlevel=ERROR", "space": "a b",
	}}, fleet.Held{})
	if diff := cmp.Diff(map[string]string{"region": "eu", "tier.a": "edge_1"}, s.Status().Labels); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if text := log.String(); !strings.Contains(text, "dropped=9") || strings.Count(text, "\n") != 1 || strings.Contains(text, "level=ERROR") {
		t.Errorf("the log: %s", text)
	}
	many := map[string]string{}
	for i := range 12 {
		many[fmt.Sprintf("l%02d", i)] = "v"
	}
	if s := f.Join(certificate("other"), fleet.Label{NodeID: "b", Labels: many}, fleet.Held{}); len(s.Status().Labels) != 10 || s.Status().Labels["l09"] != "v" {
		t.Errorf("of 12 labels: %v", s.Status().Labels)
	}
}

// slow is a database whose writes wait for a word.
type slow struct {
	*memory
	writing, goOn chan struct{}
}

func (s *slow) PutNode(ctx context.Context, node record.Node) error {
	s.writing <- struct{}{}
	<-s.goOn
	return s.memory.PutNode(ctx, node)
}

// TestALinkThatEndsWhileItsRowIsWritten: the row that is written then does not say so, and another follows that does.
func TestALinkThatEndsWhileItsRowIsWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &slow{&memory{rows: map[string]record.Node{}}, make(chan struct{}), make(chan struct{})}
		f := fleet.New(store, fleet.Options{})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx) }()
		s := f.Join(certificate("edge"), fleet.Label{NodeID: "a"}, fleet.Held{})
		<-store.writing
		s.Leave()
		store.goOn <- struct{}{}
		<-store.writing
		store.goOn <- struct{}{}
		synctest.Wait()
		other, err := fleet.New(store.memory, fleet.Options{}).List(t.Context())
		if err != nil || len(other) != 1 || !other[0].Left {
			t.Errorf("as another node shows it: %+v %v", other, err)
		}
		stop()
		<-done
	})
}
