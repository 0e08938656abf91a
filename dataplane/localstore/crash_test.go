package localstore_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/keepgate/keepgate/dataplane/localstore"
)

// disk is what the steps have made: what a killed process leaves, and what is left after a loss of
// power in the worst case, which takes all that was not synced.
type disk struct{ names, durable map[string]*inode }

type inode struct{ content, synced []byte }

func (d *disk) replay(s step) {
	file := d.names[s.path]
	switch s.do {
	case "create":
		if file == nil {
			d.names[s.path] = &inode{}
		}
	case "write":
		file.content = append(bytes.Clone(file.content), s.data...)
	case "overwrite":
		content := bytes.Clone(file.content)
		copy(content[s.size:], s.data)
		file.content = content
	case "truncate":
		file.content = file.content[:s.size]
	case "sync":
		file.synced = file.content
	case "rename":
		d.names[s.to] = file
		delete(d.names, s.path)
	case "remove":
		delete(d.names, s.path)
	case "sync names":
		d.durable = maps.Clone(d.names)
	}
}

// lay writes the disk to a folder.
func (d *disk) lay(t *testing.T, powerLost bool) (dir string) {
	t.Helper()
	all := map[string][]byte{}
	if powerLost {
		for name, file := range d.durable {
			all[name] = file.synced
		}
	} else {
		for name, file := range d.names {
			all[name] = file.content
		}
	}
	return folderOf(t, all)
}

// history lists the states that the script passes through, by version.
func history() map[uint64]model {
	h := map[uint64]model{1: base}
	h[2] = h[1].apply(one)
	h[3] = h[2].apply(two)
	h[4] = h[3]
	h[5] = h[4].apply(change(5, []localstore.Entry{entry("routes", "five", "5")}))
	h[6] = model{}
	return h
}

// script goes through the history; each version that is acknowledged is noted. Where an Append fails,
// the version is written whole, as a data plane would.
func script(s *localstore.Store, acked func(v uint64)) {
	h := history()
	for v := uint64(1); v <= 6; v++ {
		var err error
		switch v {
		case 2:
			err = s.Append(one)
		case 3:
			err = s.Append(two)
		case 5:
			err = s.Append(change(5, []localstore.Entry{entry("routes", "five", "5")}))
		default:
			err = s.Replace(h[v].state(v))
		}
		if err != nil {
			err = s.Replace(h[v].state(v))
		}
		if err == nil {
			acked(v)
		}
	}
}

// holds opens dir and fails unless it holds, whole, a version that is not older than acked.
func holds(t *testing.T, what, dir string, acked uint64) {
	t.Helper()
	s, state, err := localstore.Open(dir, hastily(optionsFor(t, localstore.AES256GCM)))
	if err != nil {
		t.Fatalf("%s: Open = %v", what, err)
	}
	defer s.Close()
	r := s.Report()
	if len(r.Damage) != 0 || state.Version < acked {
		t.Fatalf("%s: version %d of at least %d, report = %+v", what, state.Version, acked, r)
	}
	if state.Version == 0 {
		return
	}
	if diff := differs(state, state.Version, history()[state.Version]); diff != "" {
		t.Fatalf("%s: version %d is not whole:\n%s", what, state.Version, diff)
	}
}

func TestAnyCrashLeavesTheNewestWholeVersion(t *testing.T) {
	t.Parallel()
	var steps []step
	options := optionsFor(t, localstore.AES256GCM)
	options.FS = recorder{steps: &steps, failAt: -1}
	s, _ := open(t, t.TempDir(), options)
	script(s, func(v uint64) { steps = append(steps, step{acked: v}) })
	s.Close()

	d, acked := &disk{map[string]*inode{}, map[string]*inode{}}, uint64(0)
	crash := func(what string) {
		for _, powerLost := range []bool{false, true} {
			dir := d.lay(t, powerLost)
			holds(t, fmt.Sprintf("%s, power lost %v", what, powerLost), dir, acked)
			os.RemoveAll(dir)
		}
	}
	for i, s := range steps {
		if s.do == "write" {
			for _, n := range cuts(len(s.data)) { // a write that got this far
				before := d.names[s.path].content
				d.replay(step{do: "write", path: s.path, data: s.data[:n]})
				crash(fmt.Sprintf("step %d, %d bytes of %d written to %s", i, n, len(s.data), s.path))
				d.names[s.path].content = before
			}
		}
		d.replay(s)
		acked = max(acked, s.acked)
		crash(fmt.Sprintf("step %d, after %s %s", i, s.do, s.path))
	}
	if acked != 6 {
		t.Errorf("the script came to version %d", acked)
	}
}

// cuts gives all lengths of a short write and a sample of a long one's.
func cuts(size int) (all []int) {
	for n := 0; n < size; n += max(1, size/10) {
		all = append(all, n)
	}
	return append(all, max(0, size-1))
}

func TestAnyFailureOfTheDiskLeavesTheNewestWholeVersion(t *testing.T) {
	t.Parallel()
	for failAt := 0; ; failAt++ {
		var steps []step
		dir, options := filepath.Join(t.TempDir(), "store"), optionsFor(t, localstore.AES256GCM)
		options.FS = recorder{steps: &steps, failAt: failAt}
		s, _, err := localstore.Open(dir, options)
		if err != nil { // the very first step, making the folder durable
			continue
		}
		last := uint64(0)
		script(s, func(v uint64) {
			last = v
			copied := folderOf(t, files(t, dir)) // killed right after it acknowledged
			holds(t, fmt.Sprintf("failure at step %d, killed after version %d", failAt, v), copied, v)
			os.RemoveAll(copied)
		})
		s.Close()
		holds(t, fmt.Sprintf("failure at step %d", failAt), dir, last)
		if len(steps) <= failAt {
			if last != 6 {
				t.Errorf("without a failure the script came to version %d", last)
			}
			return
		}
	}
}
