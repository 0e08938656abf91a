package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keepgate/keepgate/e2e/ports"
)

const (
	superuser    = "keepgate"
	startTimeout = 60 * time.Second // a cold cluster on a busy machine takes seconds
	stopTimeout  = 10 * time.Second
)

// Options says what a server has beside its unix socket.
type Options struct {
	TCP      bool              // listen on a free loopback port too
	Settings map[string]string // further server settings, as "max_connections": "20"
}

// Server is one running PostgreSQL.
type Server struct {
	folder  string // holds the cluster, the socket and the server's log
	bin     string
	port    int
	options Options

	mu      sync.Mutex
	command *exec.Cmd     // guarded by mu; nil while stopped
	ended   chan struct{} // guarded by mu; closed when command has ended
}

// launch makes a cluster and starts its server. As root both run as the postgres user, because PostgreSQL
// refuses to run as root.
func launch(options Options) (*Server, error) {
	bin, err := findBinaries()
	if err != nil {
		return nil, err
	}
	// Not the test's own TMPDIR: a unix socket path ends at 107 bytes, and the postgres user has to reach it.
	folder, err := os.MkdirTemp("/tmp", "pgtest-")
	if err != nil {
		return nil, fmt.Errorf("making a folder for PostgreSQL: %w", err)
	}
	s := &Server{folder: folder, bin: bin, options: options}
	if err := s.create(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	if err := s.Resume(); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *Server) create() error {
	attributes, err := s.owner()
	if err != nil {
		return err
	}
	initdb := exec.Command(filepath.Join(s.bin, "initdb"), "-D", s.data(), "-U", superuser, "-A", "trust",
		"-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
	initdb.Dir, initdb.SysProcAttr = s.folder, attributes
	if output, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, output)
	}
	conf, err := os.OpenFile(filepath.Join(s.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err := conf.WriteString("\ninclude_if_exists = '" + Included + "'\n"); err != nil {
		return err
	}
	if err := conf.Close(); err != nil {
		return err
	}
	if s.options.TCP {
		if s.port, err = ports.Claim(); err != nil {
			return err
		}
	}
	return nil
}

// Resume starts a server that [Server.Pause] has stopped, on the same data, socket and port.
func (s *Server) Resume() error {
	attributes, err := s.owner()
	if err != nil {
		return err
	}
	settings := map[string]string{
		"listen_addresses": "", "unix_socket_directories": s.folder, "port": s.socketPort(),
		"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off",
		"shared_buffers": "16MB", "max_connections": "400", "log_timezone": "UTC", "timezone": "UTC",
	}
	if s.port != 0 {
		settings["listen_addresses"] = "127.0.0.1"
	}
	for name, value := range s.options.Settings {
		settings[name] = value
	}
	arguments := []string{"-D", s.data()}
	for name, value := range settings {
		arguments = append(arguments, "-c", name+"="+value)
	}
	log, err := os.OpenFile(s.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening the server's log: %w", err)
	}
	defer log.Close()
	command := exec.Command(filepath.Join(s.bin, "postgres"), arguments...)
	command.Dir, command.SysProcAttr, command.Stdout, command.Stderr = s.folder, attributes, log, log
	ended, err := runPinned(command)
	if err != nil {
		return fmt.Errorf("starting postgres: %w", err)
	}
	s.mu.Lock()
	s.command, s.ended = command, ended
	s.mu.Unlock()
	return s.awaitAnswer(ended)
}

// awaitAnswer returns once the server answers a query, or with the server's log when it ends before that.
func (s *Server) awaitAnswer(ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for {
		err := s.ping(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ended:
			return fmt.Errorf("postgres ended at once:\n%s", s.logTail())
		case <-ctx.Done():
			return fmt.Errorf("postgres did not answer within %v (%w):\n%s", startTimeout, err, s.logTail())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *Server) ping(ctx context.Context) error {
	connection, err := pgx.Connect(ctx, s.DSN("postgres"))
	if err != nil {
		return err
	}
	return connection.Close(ctx)
}

// Pause ends the server as an outage does: open connections break, the data stays.
func (s *Server) Pause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.command == nil {
		return nil
	}
	// SIGINT is PostgreSQL's fast shutdown. It may have ended already: then there is nothing to signal.
	if err := s.command.Process.Signal(syscall.SIGINT); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping postgres: %w", err)
	}
	select {
	case <-s.ended:
	case <-time.After(stopTimeout):
		_ = s.command.Process.Signal(syscall.SIGQUIT) // immediate shutdown: the data is thrown away anyway
		<-s.ended
	}
	s.command = nil
	return nil
}

func (s *Server) stopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.command == nil
}

// stop ends the server and removes all it had. What cannot be removed is left to /tmp.
func (s *Server) stop() {
	_ = s.Pause()
	_ = os.RemoveAll(s.folder)
}

// Included is the file of the data directory that may hold further settings. Those of [Options] are stronger.
const Included = "test.conf"

// Install puts a file into the server's data directory, owned by whoever the server runs as.
func (s *Server) Install(name string, data []byte, mode os.FileMode) error {
	attributes, err := s.owner()
	if err != nil {
		return err
	}
	path := filepath.Join(s.data(), name)
	if err := os.WriteFile(path+".new", data, mode); err != nil {
		return err
	}
	if who := attributes.Credential; who != nil {
		if err := os.Chown(path+".new", int(who.Uid), int(who.Gid)); err != nil {
			return err
		}
	}
	return os.Rename(path+".new", path)
}

// Reload makes the server read its files again and returns once new connections are under them. What it could not take is an error.
func (s *Server) Reload(ctx context.Context) error {
	before, err := os.Stat(s.log())
	if err != nil {
		return err
	}
	if err := s.Exec(ctx, "SELECT pg_reload_conf()"); err != nil {
		return err
	}
	for {
		log, err := os.ReadFile(s.log())
		if err != nil {
			return err
		}
		said := string(log[before.Size():])
		switch {
		case strings.Contains(said, "not reloaded"), strings.Contains(said, "no changes were applied"):
			return fmt.Errorf("the server refuses its files:\n%s", said)
		case strings.Contains(said, "reloading configuration files"):
			if err := s.ping(ctx); err != nil { // made by a postmaster that has read everything
				return err
			}
			if log, err = os.ReadFile(s.log()); err == nil && strings.Contains(string(log[before.Size():]), "not reloaded") {
				err = fmt.Errorf("the server refuses its files:\n%s", log[before.Size():])
			}
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Data is the server's data directory.
func (s *Server) Data() string { return s.data() }

func (s *Server) data() string { return filepath.Join(s.folder, "data") }
func (s *Server) log() string  { return filepath.Join(s.folder, "server.log") }

// socketPort is in the name of the unix socket even when no port is listened on.
func (s *Server) socketPort() string {
	if s.port != 0 {
		return strconv.Itoa(s.port)
	}
	return "5432"
}

func (s *Server) logTail() []byte {
	log, err := os.ReadFile(s.log())
	if err != nil {
		return []byte(err.Error())
	}
	return bytes.TrimSpace(log[max(0, len(log)-4096):])
}

// owner says as whom the server runs, and that it ends when this process does.
func (s *Server) owner() (*syscall.SysProcAttr, error) {
	attributes := &syscall.SysProcAttr{Pdeathsig: syscall.SIGINT}
	if os.Geteuid() != 0 {
		return attributes, nil
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL does not run as root and there is no user postgres; %s: %w", advice, err)
	}
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("reading the uid of postgres: %w", err)
	}
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("reading the gid of postgres: %w", err)
	}
	if err := os.Chown(s.folder, int(uid), int(gid)); err != nil {
		return nil, fmt.Errorf("giving the folder to postgres: %w", err)
	}
	attributes.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attributes, nil
}
