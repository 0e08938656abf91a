package pgtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/keepgate/keepgate/e2e/ports"
)

// Standby starts a server that follows this one as a hot standby, under a name for synchronous_standby_names. It has the same options,
// a folder and, where the other one has one, a port of its own.
func (s *Server) Standby(t testing.TB, name string) *Server {
	t.Helper()
	follower := &Server{bin: s.bin, options: s.options}
	if err := follower.follow(s, name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(follower.stop)
	if err := follower.Resume(); err != nil {
		t.Fatal(err)
	}
	return follower
}

func (s *Server) follow(primary *Server, name string) (err error) {
	if s.folder, err = os.MkdirTemp("/tmp", "pgtest-"); err != nil {
		return err
	}
	attributes, err := s.owner()
	if err != nil {
		return err
	}
	conn := fmt.Sprintf("host=%s port=%s user=%s application_name=%s", primary.folder, primary.socketPort(), superuser, name)
	backup := exec.Command(filepath.Join(s.bin, "pg_basebackup"), "-d", conn, "-D", s.data(), "-R", "-X", "stream", "--checkpoint=fast", "--no-sync")
	backup.Dir, backup.SysProcAttr = s.folder, attributes
	if output, err := backup.CombinedOutput(); err != nil {
		return fmt.Errorf("pg_basebackup: %w\n%s", err, output)
	}
	if primary.port != 0 {
		s.port, err = ports.Claim()
	}
	return err
}

// Kill ends the server as a power cut does: nothing is written any more, nobody is told.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.command == nil {
		return nil
	}
	if err := s.command.Process.Signal(syscall.SIGKILL); err != nil {
		return fmt.Errorf("killing postgres: %w", err)
	}
	<-s.ended
	s.command = nil
	return nil
}
