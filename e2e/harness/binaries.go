package harness

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// built is where this process's binaries are: the harness's only state, since all tests of a run share them.
var built struct {
	once   sync.Once
	folder string
	err    error
	ours   bool // made here, so removed at the end
}

// Binaries returns the folder that holds keepgate-cp, keepgate-dp and keepgate-kms: the one named by KEEPGATE_BIN, or one
// that they are built into now, as `make build` builds them.
func Binaries() (folder string, err error) {
	built.once.Do(func() { built.folder, built.err = build() })
	return built.folder, built.err
}

// Discard removes the binaries that were built. Nothing may run from them any more.
func Discard() {
	if built.ours {
		_ = os.RemoveAll(built.folder)
	}
}

func build() (string, error) {
	if given := os.Getenv("KEEPGATE_BIN"); given != "" {
		return filepath.Abs(given)
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	folder, err := os.MkdirTemp("", "keepgate-bin-")
	if err != nil {
		return "", fmt.Errorf("making a folder for the binaries: %w", err)
	}
	built.ours = true
	command := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-tags", "grpcnotrace", "-ldflags", "-s -w",
		"-o", folder+string(filepath.Separator), "./controlplane/cmd/keepgate-cp", "./controlplane/cmd/keepgate-kms", "./dataplane/cmd/keepgate-dp")
	command.Dir = root
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		return folder, fmt.Errorf("building the binaries: %w\n%s", err, output)
	}
	return folder, nil
}

// Root is the module's folder.
func Root() (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder, nil
		}
		above := filepath.Dir(folder)
		if above == folder {
			return "", errors.New("no go.mod here or above: run this inside the repository")
		}
		folder = above
	}
}

// run runs a program to its end and returns its standard output. What it has beside the environment's own is env.
func run(program string, args []string, env ...string) (output string, err error) {
	var out, notes bytes.Buffer
	command := exec.Command(program, args...)
	command.Env = append(clean(os.Environ()), env...)
	command.Stdout, command.Stderr = &out, &notes
	if err := command.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %q: %w\n%s%s", filepath.Base(program), args, err, out.String(), notes.String())
	}
	return out.String(), nil
}
