package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/keepgate/keepgate/dataplane/apply"
	"github.com/keepgate/keepgate/dataplane/enrol"
	"github.com/keepgate/keepgate/dataplane/enrol/enroltest"
	"github.com/keepgate/keepgate/dataplane/localstore"
	"github.com/keepgate/keepgate/dataplane/table"
	"github.com/keepgate/keepgate/shared/configset"
	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/settings/dpsettings"
)

const canary = "canary-of-the-local-store"

// camera is the real disk, of which a copy is made before each step: what a process that is killed there leaves behind.
type camera struct {
	enrol.Disk
	t      testing.TB
	mu     sync.Mutex
	prefix string
	shots  []string // guarded by mu
}

func (c *camera) shoot() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.prefix == "" {
		return
	}
	to := filepath.Join(c.t.TempDir(), fmt.Sprint(len(c.shots)))
	if err := os.CopyFS(to, os.DirFS(c.prefix)); err != nil {
		c.t.Error(err)
	}
	copyLinks(c.t, c.prefix, to)
	c.shots = append(c.shots, to)
}

// copyLinks makes the links, and the modes of keys, which os.CopyFS may not keep.
func copyLinks(t testing.TB, from, to string) {
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		copied := filepath.Join(to, name)
		if entry.Type()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			_ = os.Remove(copied)
			return os.Symlink(target, copied)
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		return os.Chmod(copied, info.Mode().Perm())
	})
	if err != nil {
		t.Error(err)
	}
}

func (c *camera) Create(path string, mode fs.FileMode) (durable.File, error) {
	c.shoot()
	return c.Disk.Create(path, mode)
}

func (c *camera) Append(path string, mode fs.FileMode) (durable.File, error) {
	c.shoot()
	return c.Disk.Append(path, mode)
}

func (c *camera) Overwrite(path string) (durable.File, error) {
	c.shoot()
	return c.Disk.Overwrite(path)
}
func (c *camera) Rename(from, to string) error { c.shoot(); return c.Disk.Rename(from, to) }
func (c *camera) Remove(path string) error     { c.shoot(); return c.Disk.Remove(path) }
func (c *camera) SyncDir(path string) error    { c.shoot(); return c.Disk.SyncDir(path) }
func (c *camera) Mkdir(path string, mode fs.FileMode) error {
	c.shoot()
	return c.Disk.Mkdir(path, mode)
}

func (c *camera) Symlink(target, path string) error { c.shoot(); return c.Disk.Symlink(target, path) }

// planeIn is a data plane over a prefix, with the defaults of keepgate-dp.
func planeIn(t testing.TB, prefix string, disk enrol.FS) *plane {
	t.Helper()
	var s dpsettings.DataPlane
	if _, err := settings.Load(&s, settings.Sources{Flags: map[string]string{"prefix": prefix, "cluster_control_plane": "cp.example:8005"}}); err != nil {
		t.Fatal(err)
	}
	return &plane{settings: s, log: slog.New(slog.DiscardHandler), tables: table.NewHolder(), disk: disk}
}

func held(n int) apply.State {
	return apply.State{Epoch: 1, Version: uint64(n), Set: configset.Of(func(yield func(configset.Entry) bool) {
		for i := range n {
			if !yield(configset.Entry{Kind: "unknown", ID: fmt.Sprint(i), Body: []byte(canary)}) {
				return
			}
		}
	})}
}

// joinedPlane is a data plane that has joined and holds something.
func joinedPlane(t testing.TB, c *enroltest.Cluster, prefix string, disk enrol.FS) *plane {
	t.Helper()
	p := planeIn(t, prefix, disk)
	wish := enrol.Wish{Token: c.Token(t), Nodes: []string{c.Listen(t)}, Dial: enroltest.Straight}
	if _, err := enrol.AtOn(disk, p.settings.Cluster.Enrolment).Join(t.Context(), wish); err != nil {
		t.Fatal(err)
	}
	if err := p.open(); err != nil {
		t.Fatal(err)
	}
	state := held(3)
	if refusal := p.applier.Apply(apply.Update{Snapshot: true, Target: state.Position(), Delta: configset.Diff(configset.Set{}, state.Set)}); refusal != nil {
		t.Fatal(refusal)
	}
	return p
}

// renewed renews the certificate of a data plane once.
func renewed(t testing.TB, p *plane, c *enroltest.Cluster) {
	t.Helper()
	member := enrol.Joined(p.belonging.folder, p.belonging.source, holdings{p}, enrol.Options{Spread: 1})
	ctx, stop := context.WithCancel(t.Context())
	over := make(chan struct{})
	member.OnRenewal(func() { close(over) })
	ended := make(chan error, 1)
	go func() { ended <- member.Run(ctx, c) }()
	member.Renew("a test")
	<-over
	stop()
	<-ended
}

// starts is how often a node is started after a step: what the first start mends, a second one finds mended.
func starts(step int) int {
	if step%6 == 0 {
		return 2
	}
	return 1
}

// A process that is killed at any step of a change starts again with an identity, and with what it held.
func TestAChangeCutShortAnywhere(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(t *testing.T, p *plane, c *enroltest.Cluster){
		"renewal": func(t *testing.T, p *plane, c *enroltest.Cluster) { renewed(t, p, c) },
		"another trust": func(t *testing.T, p *plane, c *enroltest.Cluster) {
			if err := p.belonging.member.Trust(enroltest.Bundle(6, c.Root, enroltest.NewAuthority(t, "next")), c.Shown()); err != nil {
				t.Fatal(err)
			}
		},
		"joining again": func(t *testing.T, p *plane, c *enroltest.Cluster) {
			c.Trust = enroltest.Bundle(6, c.Root)
			wish := enrol.Wish{Token: c.Token(t), Nodes: []string{c.Listen(t)}, Dial: enroltest.Straight, Again: true}
			if _, err := p.belonging.folder.Join(t.Context(), wish); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, prefix := enroltest.New(t), t.TempDir()
			disk := &camera{t: t}
			p := joinedPlane(t, c, prefix, disk)
			before := standingOf(p)
			disk.prefix = prefix
			change(t, p, c)
			disk.shoot()
			disk.prefix = ""
			p.reread()
			after := standingOf(p)
			if err := p.store.Close(); err != nil {
				t.Fatal(err)
			}
			if before == after || len(disk.shots) < 15 {
				t.Fatalf("from %s to %s in %d steps", before, after, len(disk.shots))
			}
			mustStartAnywhere(t, disk.shots, before, after)
		})
	}
}

// standingOf is what of a node changes: its certificate, or whom it believes.
func standingOf(p *plane) string {
	s := p.standing()
	return fmt.Sprint(s.Serial, " ", s.TrustSequence)
}

func mustStartAnywhere(t *testing.T, shots []string, before, after string) {
	t.Helper()
	switched := 0
	for i, shot := range shots {
		for start := range starts(i) {
			again := planeIn(t, shot, enrol.Disk{})
			if err := again.open(); err != nil {
				t.Fatalf("step %d, start %d: %v", i, start, err)
			}
			state, holds := again.applier.Held()
			if want := held(3); !holds || state.Set.Hash() != want.Set.Hash() || again.store.Report().Status != localstore.Whole {
				t.Errorf("step %d, start %d: it holds version %d, %+v", i, start, state.Version, again.store.Report())
			}
			if keys, err := again.belonging.folder.OtherKeys(); err != nil || len(keys) != 0 {
				t.Errorf("step %d, start %d: keys from before are left: %v, %v", i, start, keys, err)
			}
			if got := standingOf(again); start == 0 && got == after {
				switched++
			} else if got != before && got != after {
				t.Errorf("step %d: it stands as %s", i, got)
			}
			if err := again.store.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if switched == 0 || switched == len(shots) {
		t.Errorf("%d of %d starts have what is new", switched, len(shots))
	}
}

// A node that is shut out and killed at any step is shut out after that too, and then holds nothing. Before the order is
// noted it serves on: it gets the order again.
func TestAWipeCutShortAnywhere(t *testing.T) {
	t.Parallel()
	c, prefix := enroltest.New(t), t.TempDir()
	disk := &camera{t: t}
	p := joinedPlane(t, c, prefix, disk)
	id := p.belonging.source.Identity()
	disk.prefix = prefix
	if err := p.belonging.member.Wipe(c.Wipe(t, id, id.Serial)); err != nil {
		t.Fatal(err)
	}
	disk.shoot()
	disk.prefix = ""
	mustBeShut(t, "at once", p)
	served := 0
	for i, shot := range disk.shots {
		for start := range starts(i) {
			again := planeIn(t, shot, enrol.Disk{})
			if err := again.open(); err != nil {
				t.Fatalf("step %d, start %d: %v", i, start, err)
			}
			if again.belonging.wiped == nil {
				served++
				if state, holds := again.applier.Held(); !holds || state.Version != 3 {
					t.Errorf("step %d: neither shut out nor whole", i)
				}
				if err := again.store.Close(); err != nil {
					t.Error(err)
				}
				continue
			}
			mustBeShut(t, fmt.Sprintf("step %d, start %d", i, start), again)
			mustHoldNothing(t, shot)
		}
	}
	if served == 0 || served > len(disk.shots) {
		t.Errorf("%d of %d starts are from before the order", served, len(disk.shots))
	}
}

func mustBeShut(t *testing.T, when string, p *plane) {
	t.Helper()
	if _, holds := p.applier.Held(); holds || p.tables.Current().Shut == nil || p.standing().Wiped == nil {
		t.Errorf("%s: it holds %v, %+v", when, holds, p.standing())
	}
	if refusal := p.applier.Apply(apply.Update{Snapshot: true, Target: held(1).Position()}); refusal == nil {
		t.Errorf("%s: it takes configurations", when)
	}
	if why := (node{&front{plane: p}}).Ready(); !strings.Contains(why, "shut out") {
		t.Errorf("%s: ready: %q", when, why)
	}
	p.reread() // finds nothing to read, and does not mind
}

// mustHoldNothing looks for anything that could be opened.
func mustHoldNothing(t *testing.T, prefix string) {
	t.Helper()
	err := filepath.WalkDir(prefix, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if name := entry.Name(); strings.HasPrefix(name, "snapshot-") || strings.HasPrefix(name, "journal-") || strings.HasSuffix(name, ".key") || name == "current" {
			return errors.New(path + " is left")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// Without anything, the start says both ways to a certificate.
func TestWithoutACertificate(t *testing.T) {
	t.Parallel()
	err := planeIn(t, t.TempDir(), enrol.Disk{}).open()
	for _, want := range []string{"keepgate-dp join", "keepgate-cp fleet invite", "keepgate-dp certs request"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("open = %v, want %q", err, want)
		}
	}
}
