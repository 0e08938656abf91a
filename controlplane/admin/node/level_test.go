package node_test

import (
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keepgate/keepgate/controlplane/admin/node"
	"github.com/keepgate/keepgate/controlplane/admin/rest"
)

// level is set by a timer while the test reads it.
type level struct{ name atomic.Value }

func (l *level) Name() string          { return l.name.Load().(string) }
func (l *level) Set(name string) error { l.name.Store(name); return nil }

// TestLevelIsPutBack: the level of the first change comes back, however many follow, and stays on timeout=0.
func TestLevelIsPutBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &level{}
		l.name.Store("notice")
		api, table := node.New(node.Deps{Level: l}, node.Facts{}), rest.NewTable()
		api.Mount(table)
		set := func(path string) {
			t.Helper()
			r := httptest.NewRequestWithContext(t.Context(), "PUT", path, nil)
			m, found := table.Find(r.URL.EscapedPath())
			if !found {
				t.Fatalf("no path %s", path)
			}
			if _, err := m.Handler("PUT")(rest.NewRequest(httptest.NewRecorder(), r, m)); err != nil {
				t.Fatal(err)
			}
		}
		after := func(d time.Duration, want string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if got := l.Name(); got != want {
				t.Errorf("the level is %s, want %s", got, want)
			}
		}
		set("/debug/node/log-level/debug?timeout=10")
		after(5*time.Second, "debug")
		set("/debug/node/log-level/info?timeout=10")
		after(6*time.Second, "info") // the first timeout is over and counts no longer
		after(5*time.Second, "notice")
		set("/debug/node/log-level/error?timeout=0")
		after(time.Hour, "error")
		set("/debug/node/log-level/debug")
		api.Close()
		after(time.Hour, "error")
	})
}
