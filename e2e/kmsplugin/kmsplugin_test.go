package kmsplugin_test

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/e2e/kmsplugin"
	"github.com/keepgate/keepgate/e2e/kmsplugin/control"
)

func TestKeysAndFaultsOutliveACrash(t *testing.T) {
	t.Parallel()
	p := kmsplugin.Start(t, t.TempDir())
	p.Rotate("key-2")
	p.Return("key-1")
	p.Break(func(f *control.Faults) { f.Healthz = "ill"; f.Hang[control.Encrypt] = true })
	before := p.State()
	p.Restart()
	after := p.State()
	if diff := cmp.Diff(before, after); diff != "" || after.Active != "key-1" || len(after.Keys) != 2 {
		t.Errorf("after a crash (-before +after):\n%s", diff)
	}
	p.Mend()
	p.Forget("key-2")
	if s := p.State(); s.Faults.Healthz != "" || len(s.Keys) != 1 {
		t.Errorf("State = %+v", s)
	}
}

func TestASocketFileThatWasLeftBehind(t *testing.T) {
	t.Parallel()
	p := kmsplugin.StartWith(t, t.TempDir(), kmsplugin.Options{KeepStale: true})
	p.Kill()
	if _, err := os.Stat(p.Socket()); err != nil {
		t.Fatalf("a crash takes the socket file with it: %v", err)
	}
	if err := p.TryStart(); err == nil {
		t.Fatal("it started over the socket file")
	}
	if err := os.Remove(p.Socket()); err != nil {
		t.Fatal(err)
	}
	p.Start()
	p.Stop()
	if _, err := os.Stat(p.Socket()); !os.IsNotExist(err) {
		t.Errorf("an orderly end leaves the socket file: %v", err)
	}
	p.Start()
}
