package pgtest

import (
	"errors"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
)

const advice = "install it with: make deps"

var errMissing = errors.New("PostgreSQL's initdb and postgres were found neither in PATH nor in /usr/lib/postgresql/*/bin; " + advice)

// findBinaries returns the folder that holds initdb and postgres. Debian keeps them out of PATH, one folder
// a version: the newest wins.
func findBinaries() (string, error) {
	if initdb, err := exec.LookPath("initdb"); err == nil {
		// Both must be of one version, so a link is followed to where the other one stands too.
		if real, err := filepath.EvalSymlinks(initdb); err == nil && complete(filepath.Dir(real)) {
			return filepath.Dir(real), nil
		}
	}
	folders, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", err
	}
	slices.SortFunc(folders, func(a, b string) int { return version(b) - version(a) })
	for _, folder := range folders {
		if complete(folder) {
			return folder, nil
		}
	}
	return "", errMissing
}

func version(folder string) int {
	n, err := strconv.Atoi(filepath.Base(filepath.Dir(folder)))
	if err != nil {
		return 0
	}
	return n
}

func complete(folder string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		if _, err := exec.LookPath(filepath.Join(folder, name)); err != nil {
			return false
		}
	}
	return true
}

// runPinned starts a command from a thread that lives as long as the command does, since the kernel sends
// Pdeathsig when the starting thread ends, not the process (prctl(2), PR_SET_PDEATHSIG).
func runPinned(command *exec.Cmd) (ended chan struct{}, err error) {
	ended = make(chan struct{})
	started := make(chan error, 1)
	go func() {
		defer close(ended)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := command.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		_ = command.Wait() // how it ended stands in its log
	}()
	return ended, <-started
}
