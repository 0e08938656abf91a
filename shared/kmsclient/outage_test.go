package kmsclient_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keepgate/keepgate/e2e/kmsplugin"
	"github.com/keepgate/keepgate/e2e/kmsplugin/control"
	"github.com/keepgate/keepgate/shared/kmsclient"
	"github.com/keepgate/keepgate/shared/secret"
)

func secretOf(text string) secret.Bytes { return secret.Take([]byte(text)) }

func second[A any](_ A, err error) error { return err }

// Each way in which a plugin can be away has its own words, and a client that is left alone finds it again.
func TestAnOutage(t *testing.T) {
	t.Parallel()
	p := kmsplugin.New(t, t.TempDir(), kmsplugin.Options{KeepStale: true})
	two := v2(t, p, brief)
	awaitBad(t, two, "there is no socket", p.Socket(), "start the plugin")
	p.Start()
	awaitGood(t, two)
	p.Kill()
	awaitBad(t, two, "nobody listens", "socket file that it left behind")
	if err := os.Remove(p.Socket()); err != nil {
		t.Fatal(err)
	}
	p.Start()
	awaitGood(t, two)
	p.Break(func(f *control.Faults) { f.Die[control.Encrypt] = true })
	_, err := v2(t, p, patience).Encrypt(t.Context(), newSeed())
	wantUnavailable(t, err, "broke")
	if errors.Is(err, kmsclient.ErrNoAnswer) {
		t.Errorf("error = %v, which is %v", err, kmsclient.ErrNoAnswer)
	}
	p.Ended()
}

// awaitBad calls until the error is the one that says so: what was under way when something changed may say less.
func awaitBad(t *testing.T, client *kmsclient.V2, words ...string) {
	t.Helper()
	says := func(err error) bool {
		return err != nil && !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(err.Error(), word) })
	}
	for deadline := time.Now().Add(patience); ; {
		_, err := client.Status(t.Context())
		if says(err) || time.Now().After(deadline) {
			if !errors.Is(err, kmsclient.ErrNoAnswer) {
				t.Errorf("error = %v, which is not %v", err, kmsclient.ErrNoAnswer)
			}
			wantUnavailable(t, err, words...)
			return
		}
	}
}

// Root may open every socket: then a child that is nobody looks at this one.
func TestASocketThatMayNotBeOpened(t *testing.T) {
	t.Parallel()
	const variable = "KMSCLIENT_CLOSED_SOCKET"
	endpoint := os.Getenv(variable)
	if endpoint == "" {
		p := kmsplugin.Start(t, t.TempDir())
		if err := os.Chmod(p.Socket(), 0); err != nil {
			t.Fatal(err)
		}
		endpoint = p.Endpoint()
	}
	if os.Geteuid() == 0 {
		child := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
		child.Env = append(os.Environ(), variable+"="+endpoint)
		child.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		if output, err := child.CombinedOutput(); err != nil || !strings.Contains(string(output), "--- PASS: "+t.Name()) {
			t.Fatalf("the child: %v\n%s", err, output)
		}
		return
	}
	client, err := kmsclient.NewV2(kmsclient.Options{Name: "prov", Endpoint: endpoint, Timeout: brief})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	awaitBad(t, client, "may not open", "give its user access")
}

const nobody = 65534

func TestAHangingMethod(t *testing.T) {
	t.Parallel()
	p := kmsplugin.Start(t, t.TempDir())
	two := v2(t, p, brief)
	awaitGood(t, two)
	p.Break(func(f *control.Faults) { f.Hang[control.Encrypt] = true })
	_, err := two.Encrypt(t.Context(), newSeed())
	wantUnavailable(t, err, "did not answer in time")
	if !errors.Is(err, kmsclient.ErrNoAnswer) {
		t.Errorf("error = %v, which is not %v", err, kmsclient.ErrNoAnswer)
	}
	awaitGood(t, two)
	p.Mend()
	if _, err := v2(t, p, patience).Encrypt(t.Context(), newSeed()); err != nil {
		t.Error(err)
	}
}

// A process that hangs keeps its connections for ever. When another one has taken over the socket, it is found.
func TestANewPluginBesideOneThatHangs(t *testing.T) {
	t.Parallel()
	old, fresh := kmsplugin.Start(t, t.TempDir()), kmsplugin.StartWith(t, t.TempDir(), kmsplugin.Options{FirstKey: "fresh"})
	two := v2(t, old, brief)
	if status := awaitGood(t, two); status.KeyID != "key-1" {
		t.Fatalf("Status = %+v", status)
	}
	old.Freeze()
	_, err := two.Status(t.Context())
	wantUnavailable(t, err, "did not answer in time")
	if err := os.Rename(fresh.Socket(), old.Socket()); err != nil {
		t.Fatal(err)
	}
	if status := awaitGood(t, two); status.KeyID != "fresh" {
		t.Errorf("Status = %+v, want that of the new plugin", status)
	}
	old.Thaw()
}

// Calls beside one that hangs end as they would without it.
func TestACallThatHangsBreaksNoOther(t *testing.T) {
	t.Parallel()
	p := kmsplugin.Start(t, t.TempDir())
	two := v2(t, p, 6*time.Second)
	awaitGood(t, two)
	p.Break(func(f *control.Faults) { f.Hang[control.Encrypt] = true; f.Delay[control.Status] = time.Second })
	hung := make(chan error)
	go func() { hung <- second(two.Encrypt(t.Context(), newSeed())) }()
	for over := false; !over; {
		beside := make(chan error)
		go func() { beside <- second(two.Status(t.Context())) }()
		select {
		case err := <-hung:
			wantUnavailable(t, err, "in time")
			over = true
		case err := <-beside:
			if err != nil {
				t.Fatalf("beside: %v", err)
			}
			continue
		}
		if err := <-beside; err != nil {
			t.Errorf("under way while the connection was given up: %v", err)
		}
	}
}

// Something listens and speaks no gRPC.
func TestASocketOfSomethingElse(t *testing.T) {
	t.Parallel()
	folder, err := os.MkdirTemp("", "kms")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	listener, err := net.Listen("unix", filepath.Join(folder, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	two, err := kmsclient.NewV2(kmsclient.Options{Name: "prov", Endpoint: "unix://" + listener.Addr().String(), Timeout: brief})
	if err != nil {
		t.Fatal(err)
	}
	defer two.Close()
	_, err = two.Status(t.Context())
	wantUnavailable(t, err, "does not speak gRPC")
}

// Parallel calls to a dead plugin leave nothing behind that a late answer could fall into.
func TestManyCallsAtOnce(t *testing.T) {
	t.Parallel()
	p := kmsplugin.Start(t, t.TempDir())
	two := v2(t, p, patience)
	errs := make(chan error)
	for i := range 64 {
		go func() {
			if i%8 == 0 {
				errs <- second(two.Status(t.Context()))
				return
			}
			wrapped, err := two.Encrypt(t.Context(), secretOf(strings.Repeat("s", i+1)))
			if err == nil {
				var opened secret.Bytes
				if opened, err = two.Decrypt(t.Context(), wrapped); err == nil && opened.Len() != i+1 {
					t.Errorf("%d bytes came back of %d", opened.Len(), i+1)
				}
			}
			errs <- err
		}()
	}
	for range 64 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// It is not parallel: it looks at all goroutines of the process.
func TestNothingIsLeftOfAClosedClient(t *testing.T) {
	p := kmsplugin.Start(t, t.TempDir())
	two := v2(t, p, brief)
	awaitGood(t, two)
	p.Break(func(f *control.Faults) { f.Hang[control.Encrypt] = true })
	for range 2 { // each leaves a connection behind
		_, err := two.Encrypt(t.Context(), newSeed())
		wantUnavailable(t, err)
	}
	under := make(chan error)
	go func() { under <- second(two.Encrypt(t.Context(), newSeed())) }()
	two.Close()
	wantUnavailable(t, <-under)
	stacks := make([]byte, 1<<20)
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		left := string(stacks[:runtime.Stack(stacks, true)])
		if !strings.Contains(left, "google.golang.org/grpc") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("goroutines of gRPC are left:\n%s", left)
		}
	}
}
