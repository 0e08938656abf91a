package postgres_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/postgres"
	"github.com/keepgate/keepgate/controlplane/store/storetest"
	"github.com/keepgate/keepgate/e2e/pgtest"
	"github.com/keepgate/keepgate/shared/fault"
)

func workspace() record.Batch {
	return record.Batch{Changes: []record.Change{storetest.Workspace(uuid.NewString())}}
}

func TestComesBackAfterAnOutage(t *testing.T) {
	t.Parallel()
	server := pgtest.Own(t, pgtest.Options{})
	settings := config(t, server, server.Database(t))
	settings.Timeout = time.Second
	store := open(t, settings)
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if _, err := store.Head(t.Context()); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("reading from a dead server: %v", err)
	}
	if _, err := store.Apply(t.Context(), workspace()); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("writing to a dead server: %v", err)
	}
	if _, err := postgres.Open(t.Context(), settings); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("opening a dead server: %v", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v to say so", took)
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	if revision, err := store.Apply(t.Context(), workspace()); revision != 1 || err != nil {
		t.Errorf("writing after the outage: %d, %v", revision, err)
	}
}

// TestKilledConnections ends the server's side of connections while writers are at work: each write either
// counts or says that the database was unavailable, and one that said so did not count, unless it also said
// that nobody knows.
func TestKilledConnections(t *testing.T) {
	t.Parallel()
	server := pgtest.Own(t, pgtest.Options{})
	settings := config(t, server, server.Database(t))
	store := open(t, settings)
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Second)
	defer stop()
	var committed, refused, unknown atomic.Int64
	var writing sync.WaitGroup
	for range 4 {
		writing.Go(func() {
			for ctx.Err() == nil {
				switch _, err := store.Apply(t.Context(), workspace()); {
				case err == nil:
					committed.Add(1)
				case fault.KindOf(err) == fault.Unavailable && strings.Contains(err.Error(), "not known"):
					unknown.Add(1)
				case fault.KindOf(err) == fault.Unavailable:
					refused.Add(1)
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	for ctx.Err() == nil {
		err := server.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'keepgate-cp'")
		if err != nil {
			t.Error(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	writing.Wait()
	head, err := store.Head(t.Context())
	surely, perhaps := uint64(committed.Load()), uint64(unknown.Load())
	if err != nil || head < surely || head > surely+perhaps || surely == 0 || refused.Load() == 0 {
		t.Errorf("head %d, %d writes were committed, %d refused and %d unknown, %v", head, surely, refused.Load(), perhaps, err)
	}
}

// TestLostCommit breaks the connection at the COMMIT, before or after the server has heard of it.
func TestLostCommit(t *testing.T) {
	t.Parallel()
	server := pgtest.Own(t, pgtest.Options{TCP: true})
	tests := map[string]struct{ heard, healed bool }{
		"the server has committed":              {heard: true, healed: true},
		"the server has not heard it":           {heard: false, healed: true},
		"committed, and nobody can be asked":    {heard: true, healed: false},
		"not heard of, and nobody can be asked": {heard: false, healed: false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			settings := config(t, server, server.Database(t))
			direct := open(t, settings)
			if err := direct.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			wire := newCutter(t, server.Port(), test.heard, test.healed)
			settings.Server, settings.Timeout = at("127.0.0.1", wire.port()), time.Second
			store := open(t, settings)
			wire.armed.Store(true)
			revision, err := store.Apply(t.Context(), workspace())
			head, headErr := direct.Head(t.Context())
			for range 100 { // the server may still be at it
				if headErr != nil || (head == 1) == test.heard {
					break
				}
				time.Sleep(20 * time.Millisecond)
				head, headErr = direct.Head(t.Context())
			}
			if headErr != nil || (head == 1) != test.heard {
				t.Fatalf("the head is %d, %v", head, headErr)
			}
			switch {
			case !test.healed:
				if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "not known") {
					t.Errorf("nobody knows, but Apply says %d, %v", revision, err)
				}
			case test.heard:
				if revision != 1 || err != nil {
					t.Errorf("committed, but Apply says %d, %v", revision, err)
				}
			case fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "nothing was committed"):
				t.Errorf("not committed, but Apply says %d, %v", revision, err)
			}
		})
	}
}

// cutter carries connections to the server and cuts the first one that sends COMMIT once it is armed.
type cutter struct {
	listener      net.Listener
	target        string
	heard, healed bool
	armed, cut    atomic.Bool
}

func newCutter(t *testing.T, port int, heard, healed bool) *cutter {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{listener: listener, target: net.JoinHostPort("127.0.0.1", itoa(port)), heard: heard, healed: healed}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { c.carry(client) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		all.Wait()
	})
	return c
}

func (c *cutter) port() int { return c.listener.Addr().(*net.TCPAddr).Port }

func (c *cutter) carry(client net.Conn) {
	defer client.Close()
	if c.cut.Load() && !c.healed {
		return
	}
	server, err := net.Dial("tcp", c.target)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		_, _ = io.Copy(client, server)
		client.Close()
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		if strings.Contains(string(buffer[:n]), "COMMIT\x00") && c.armed.CompareAndSwap(true, false) {
			c.cut.Store(true)
			client.Close() // so that no answer comes through
			if c.heard {
				_, _ = server.Write(buffer[:n])
				time.Sleep(200 * time.Millisecond)
			}
			return
		}
		if err != nil {
			return
		}
		if _, err := server.Write(buffer[:n]); err != nil && !errors.Is(err, net.ErrClosed) {
			return
		}
	}
}
