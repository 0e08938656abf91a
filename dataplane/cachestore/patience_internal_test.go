package cachestore

import (
	"context"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keepgate/keepgate/shared/durable"
)

// watched is a disk that fails, and notes the minutes in which files were made or wanted.
type watched struct {
	failing
	began time.Time

	mu    sync.Mutex
	tried []int           // guarded by mu
	log   strings.Builder // guarded by mu
}

func (w *watched) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(line)
}

func (w *watched) seen() (tried []int, log string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.tried), w.log.String()
}

func (w *watched) Create(path string, mode fs.FileMode) (durable.File, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if minute := int(time.Since(w.began) / time.Minute); !slices.Contains(w.tried, minute) {
		w.tried = append(w.tried, minute)
	}
	return w.failing.Create(path, mode)
}

func TestPatience(t *testing.T) {
	t.Parallel()
	now, p := time.Unix(1e9, 0), patience{}
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		if p.failed(now); p.pause != want*time.Minute || !p.resting(now.Add(p.pause-1)) || p.resting(now.Add(p.pause)) {
			t.Fatalf("the pause is %s, want %s", p.pause, want*time.Minute)
		}
		now = now.Add(p.pause + time.Minute)
	}
	if p.failed(now.Add(time.Hour)); p.pause != firstPause {
		t.Errorf("after an hour without a failure the pause is %s", p.pause)
	}
}

// A disk that fails is tried again after pauses that grow, whether it could not be opened or takes nothing any more, and the log is told
// once that it fails and once that it does not.
func TestADiskIsTriedAgain(t *testing.T) {
	t.Parallel()
	for name, opened := range map[string]bool{"it cannot be opened": false, "it is full": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				disk := &watched{began: time.Now()}
				o := options(t, filepath.Join(t.TempDir(), "cache"))
				o.FS, o.Log = disk, slog.New(slog.NewTextHandler(disk, nil))
				c := New(o)
				disk.create.Store(!opened)
				c.WantDisk()
				disk.create.Store(true)
				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan error)
				go func() { ended <- c.Run(ctx) }()
				await := func(minutes int) { // somebody asks for something to be kept twice a minute
					for range 2 * minutes {
						time.Sleep(30 * time.Second)
						c.Keep(&Entry{Name: goldenName("a"), Value: []byte("a"), Expires: time.Now().Unix() + 1e6, Began: c.Began()}, true)
						synctest.Wait()
					}
				}
				time.Sleep(time.Second)
				await(70)
				tried, log := disk.seen()
				if _, usage, _ := c.Usage(); usage == nil || !usage.Failing || len(tried) < 6 || len(tried) > 8 {
					t.Errorf("it was tried in the minutes %v, and says %+v", tried, usage)
				}
				if _, usage, _ := c.Usage(); (time.Unix(usage.Tried, 0).Sub(disk.began)/time.Minute) != time.Duration(tried[len(tried)-1]) || usage.Again-usage.Tried != int64(longestPause/time.Second) {
					t.Errorf("it was tried in the minutes %v since %v, and says %+v", tried, disk.began.Unix(), usage)
				}
				asked := tried
				time.Sleep(3 * longestPause) // nobody has anything to keep
				synctest.Wait()
				_, idle, _ := c.Usage()
				if tried, _ := disk.seen(); opened != (len(tried) == len(asked)) || (time.Unix(idle.Tried, 0).Sub(disk.began)/time.Minute) != time.Duration(tried[len(tried)-1]) {
					t.Errorf("while nothing was to be kept it was tried in the minutes %v, and says %+v", tried, idle)
				}
				if got := strings.Count(log, "level="); got != 1 || !strings.Contains(log, "level=ERROR") {
					t.Errorf("the log says\n%s", log)
				}
				disk.create.Store(false)
				await(31)
				_, usage, _ := c.Usage()
				if usage == nil || usage.Failing || usage.Entries != 1 || usage.Tried != 0 || usage.Again != 0 {
					t.Errorf("it says %+v", usage)
				}
				if _, log = disk.seen(); strings.Count(log, "level=") != 2 || !strings.Contains(log, `level=INFO msg="proxy-cache: the disk is used again"`) {
					t.Errorf("the log says\n%s", log)
				}
				stop()
				if err := <-ended; err != nil || c.Close() != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A purge while another process has the disk is done when it is opened at last.
func TestAPurgeWhileTheDiskIsAbsent(t *testing.T) {
	t.Parallel()
	disk := &failing{}
	o := options(t, filepath.Join(t.TempDir(), "cache"))
	c := open(t, o)
	keep(c, "a", LabelsOf("w", "p", "1"), []byte("a"))
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	other, err := lockFolder(o.Folder, durable.Disk{})
	if err != nil {
		t.Fatal(err)
	}
	o.FS = disk
	c = New(o)
	c.WantDisk()
	c.Hold("w", []Mark{{ID: "m", Workspace: "w"}})
	if err := unlock(other); err != nil {
		t.Fatal(err)
	}
	if c.tryAgain(); c.disk.Load() != nil {
		t.Error("it is tried again at once")
	}
	c.rest = patience{}
	if c.tryAgain(); c.disk.Load() == nil || find(c, "a") != nil {
		t.Error("it is not used, or what was purged is found")
	}
	if err := c.Erase(); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
