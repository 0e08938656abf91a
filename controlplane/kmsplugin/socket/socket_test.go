package socket_test

import (
	"bytes"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keepgate/keepgate/controlplane/kmsplugin/socket"
	"github.com/keepgate/keepgate/shared/fault"
)

// The test is also a process of its own that another user runs, or that is killed while it serves.
const (
	asDialer = "SOCKET_TEST_DIAL"
	asServer = "SOCKET_TEST_SERVE"
	nobody   = 65534
)

func TestMain(m *testing.M) {
	if address := os.Getenv(asDialer); address != "" {
		conn, err := net.Dial("unix", address)
		if err != nil {
			os.Stdout.WriteString("refused: " + err.Error())
			os.Exit(0)
		}
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		said, _ := io.ReadAll(conn)
		os.Stdout.WriteString("said: " + string(said))
		os.Exit(0)
	}
	if endpoint := os.Getenv(asServer); endpoint != "" {
		if _, err := socket.Open(endpoint, quiet()); err != nil {
			os.Stdout.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Stdout.WriteString("serving\n")
		select {}
	}
	os.Exit(m.Run())
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sock") // the address of a socket holds 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// greet serves one word to whoever comes, until the test ends.
func greet(t *testing.T, s *socket.Socket) {
	t.Helper()
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := s.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("hello"))
			_ = conn.Close()
		}
	})
	t.Cleanup(func() { s.Close(); serving.Wait() })
}

func TestASocketFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(folder(t), "a", "b", "kms.sock")
	s, err := socket.Open("unix://"+path, quiet())
	if err != nil {
		t.Fatal(err)
	}
	greet(t, s)
	for name, want := range map[string]fs.FileMode{path: fs.ModeSocket | 0o600, path + ".lock": 0o600, filepath.Dir(path): fs.ModeDir | 0o700} {
		if info, err := os.Lstat(name); err != nil || info.Mode() != want {
			t.Errorf("%s has mode %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(conn); string(said) != "hello" {
		t.Errorf("it says %q, %v", said, err)
	}
	if _, err := socket.Open("unix://"+path, quiet()); fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "another plugin") {
		t.Errorf("a second plugin: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("after Close the file is there: %v", err)
	}
	again, err := socket.Open("unix://"+path, quiet())
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	again.Close()
}

// A plugin that was killed leaves its file behind, and the lock tells that it is dead.
func TestAStaleFileIsReplaced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(folder(t), "kms.sock")
	plugin := exec.Command("/proc/self/exe")
	plugin.Env = append(os.Environ(), asServer+"=unix://"+path)
	plugin.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := plugin.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := plugin.Start(); err != nil {
		t.Fatal(err)
	}
	if said := make([]byte, 8); func() bool { _, err := io.ReadFull(out, said); return err != nil || string(said) != "serving\n" }() {
		t.Fatalf("the plugin says %q", said)
	}
	if _, err := socket.Open("unix://"+path, quiet()); fault.KindOf(err) != fault.Conflict {
		t.Errorf("beside a living plugin: %v", err)
	}
	if err := plugin.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = plugin.Wait()
	if _, err := os.Lstat(path); err != nil {
		t.Fatalf("it left no file behind: %v", err)
	}
	var log bytes.Buffer
	s, err := socket.Open("unix://"+path, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if !strings.Contains(log.String(), "left behind") {
		t.Errorf("the log says %s", log.String())
	}
}

func TestWhatIsNoStaleSocketIsLeftAlone(t *testing.T) {
	t.Parallel()
	listening := func(t *testing.T, path string) {
		listener, err := net.Listen("unix", path) // without our lock
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
	}
	for name, test := range map[string]struct {
		put  func(t *testing.T, path string)
		says string
	}{
		"a file":   {func(t *testing.T, path string) { must(t, os.WriteFile(path, []byte("precious"), 0o600)) }, "is no socket"},
		"a folder": {func(t *testing.T, path string) { must(t, os.Mkdir(path, 0o700)) }, "is no socket"},
		"a link to a socket": {func(t *testing.T, path string) {
			listening(t, path+".other")
			must(t, os.Symlink(path+".other", path))
		}, "is no socket"},
		"a living stranger": {listening, "another program listening"},
		"a dead socket of another user": {func(t *testing.T, path string) {
			listener, err := net.Listen("unix", path)
			must(t, err)
			listener.(*net.UnixListener).SetUnlinkOnClose(false)
			must(t, listener.Close())
			must(t, os.Chown(path, nobody, nobody))
		}, "another user"},
		"a lock that is a link": {func(t *testing.T, path string) { must(t, os.Symlink(path+".victim", path+".lock")) }, "lock"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if strings.Contains(name, "another user") && os.Geteuid() != 0 {
				return // only root can make one
			}
			path := filepath.Join(folder(t), "kms.sock")
			test.put(t, path)
			before, beforeErr := os.Lstat(path)
			s, err := socket.Open("unix://"+path, quiet())
			if err == nil {
				s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("Open = %v, want %q", err, test.says)
			}
			after, afterErr := os.Lstat(path)
			if (beforeErr == nil) != (afterErr == nil) || beforeErr == nil && !os.SameFile(before, after) {
				t.Errorf("it was touched: %v, %v", after, afterErr)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestEndpointsThatAreRefused(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	open := filepath.Join(dir, "open")
	must(t, os.Mkdir(open, 0o700))
	must(t, os.Chmod(open, 0o777))
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	for endpoint, says := range map[string]string{
		"":                                    "unix:///path",
		"tcp://127.0.0.1:1":                   `"tcp"`,
		"unix://run/kms.sock":                 "unix:///run/kms.sock",
		"unix://" + open + "/kms.sock":        "others may replace",
		"unix://" + dir + "/file/kms.sock":    "not a directory",
		"unix:///" + strings.Repeat("x", 120): "107",
	} {
		if _, err := socket.Open(endpoint, quiet()); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), says) {
			t.Errorf("Open(%q) = %v, want %q", endpoint, err, says)
		}
	}
	if os.Geteuid() == 0 {
		others := filepath.Join(dir, "others")
		must(t, os.Mkdir(others, 0o755))
		must(t, os.Chown(others, 65534, 65534))
		if _, err := socket.Open("unix://"+others+"/kms.sock", quiet()); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "another user") {
			t.Errorf("in a folder of another user: %v", err)
		}
	}
	must(t, os.Chmod(open, 0o777|fs.ModeSticky)) // as /tmp is
	s, err := socket.Open("unix://"+open+"/kms.sock", quiet())
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}

// dial is what another user gets to hear.
func dial(t *testing.T, address string, uid uint32) string {
	t.Helper()
	dialer := exec.Command("/proc/self/exe")
	dialer.Env = append(os.Environ(), asDialer+"="+address)
	if uid != uint32(os.Geteuid()) {
		dialer.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	said, err := dialer.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(said)
}

// An abstract socket has no mode: the kernel is asked who dialled.
func TestAnAbstractSocket(t *testing.T) {
	t.Parallel()
	address := "@keepgate-test-" + uuid.NewString()
	var log lockedBuffer
	s, err := socket.Open("unix:///"+address, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	greet(t, s)
	if !socket.IsAbstract("unix:///"+address) || socket.IsAbstract("unix:///run/kms.sock") {
		t.Error("IsAbstract is wrong")
	}
	if _, err := socket.Open("unix:///"+address, quiet()); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a second plugin: %v", err)
	}
	if said := dial(t, address, uint32(os.Geteuid())); said != "said: hello" {
		t.Errorf("this user hears %q", said)
	}
	if os.Geteuid() != 0 {
		return // only root can be another user
	}
	if said := dial(t, address, nobody); said != "said: " {
		t.Errorf("another user hears %q", said)
	}
	if !strings.Contains(log.String(), "user=65534") {
		t.Errorf("the log says %q", log.String())
	}
	path := filepath.Join(folder(t), "kms.sock")
	file, err := socket.Open("unix://"+path, quiet())
	if err != nil {
		t.Fatal(err)
	}
	greet(t, file)
	if err := os.Chmod(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if said := dial(t, path, nobody); !strings.Contains(said, "permission denied") {
		t.Errorf("another user of a socket file hears %q", said)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}
