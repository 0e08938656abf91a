package process_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/keepgate/keepgate/shared/process"
)

// A pid file that cannot be emptied would go on to say what it said: nothing runs then, whether or not there is a file of readiness.
func TestHoldWantsAFileOfItsOwn(t *testing.T) {
	t.Parallel()
	place := process.Place{Prefix: t.TempDir(), Name: "sample"}
	pids := filepath.Join(place.Prefix, "pids")
	if err := errors.Join(os.Mkdir(pids, 0o750), os.Symlink(os.DevNull, filepath.Join(pids, "sample.pid"))); err != nil {
		t.Fatal(err)
	}
	if instance, err := process.Hold(place); err == nil {
		t.Error("a device is held for a pid file")
		_ = instance.Release()
	}
}
