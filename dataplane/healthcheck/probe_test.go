package healthcheck_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/keepgate/keepgate/dataplane/healthcheck"
)

// world is one upstream whose addresses are real.
type world struct {
	checks  healthcheck.Config
	members []healthcheck.Member
	changed chan struct{}
}

func (w *world) Checks() *healthcheck.Config                  { return &w.checks }
func (w *world) Identity() (id, name string)                  { return "id", "name" }
func (w *world) Members(context.Context) []healthcheck.Member { return w.members }
func (w *world) Subjects() []healthcheck.Subject              { return []healthcheck.Subject{w} }
func (w *world) Changed() <-chan struct{}                     { return w.changed }
func (w *world) add(addr netip.AddrPort, host string) *healthcheck.State {
	state := new(healthcheck.State)
	w.members = append(w.members, healthcheck.Member{
		Addr: addr, Host: host, State: state,
		Report: func(o healthcheck.Outcome) healthcheck.Change { return state.Active(&w.checks, o) },
	})
	return state
}

func newWorld(active healthcheck.Active) *world {
	if active.Timeout == 0 {
		active.Timeout = 10 * time.Second
	}
	active.Concurrency = 4
	active.Healthy.Interval, active.Healthy.Successes = 10*time.Millisecond, 1
	active.Unhealthy.Interval = 10 * time.Millisecond
	active.Unhealthy.TCPFailures, active.Unhealthy.HTTPFailures, active.Unhealthy.Timeouts = 1, 1, 1
	active.Healthy.Statuses, active.Unhealthy.Statuses = healthcheck.StatusesOf(200), healthcheck.StatusesOf(500)
	return &world{checks: healthcheck.Config{Active: active}, changed: make(chan struct{})}
}

// check runs the checks until they have said want of the address often enough to be sure.
func (w *world) check(t *testing.T, state *healthcheck.State, want bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	ended := make(chan struct{})
	var said atomic.Int64
	inner := w.members[len(w.members)-1].Report
	w.members[len(w.members)-1].Report = func(o healthcheck.Outcome) healthcheck.Change {
		defer said.Add(1)
		return inner(o)
	}
	go func() {
		defer close(ended)
		_ = healthcheck.New(w, nil).Run(ctx)
	}()
	for ctx.Err() == nil && said.Load() < 3 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-ended
	if said.Load() < 3 || state.Healthy() != want {
		t.Errorf("after %d checks healthy: %v, want %v", said.Load(), state.Healthy(), want)
	}
}

func addrOf(t *testing.T, l net.Listener) netip.AddrPort {
	t.Helper()
	return netip.MustParseAddrPort(l.Addr().String())
}

// When all tests have ended, nothing that they started runs on.
func TestMain(m *testing.M) {
	code := m.Run()
	stacks := make([]byte, 1<<20)
	for start := time.Now(); code == 0; time.Sleep(10 * time.Millisecond) {
		if running := string(stacks[:runtime.Stack(stacks, true)]); !strings.Contains(running, "healthcheck.(") && !strings.Contains(running, "grpc") {
			break
		} else if time.Since(start) > 30*time.Second {
			fmt.Fprintln(os.Stderr, "left behind:\n"+running)
			code = 1
		}
	}
	os.Exit(code)
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status int
		path   string
		want   bool
	}{"good": {200, "/health?deep=1", true}, "bad": {500, "/health?deep=1", false}, "neither": {404, "", true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var wrong atomic.Value
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				uri := test.path
				if uri == "" {
					uri = "/"
				}
				if _, port, _ := net.SplitHostPort(r.Host); r.RequestURI != uri || r.Host != "a.test:"+port || fmt.Sprint(r.Header["X-Probe"]) != "[1 2]" || r.Method != "GET" {
					wrong.Store(fmt.Sprint(r.Method, r.RequestURI, r.Host, r.Header))
				}
				w.WriteHeader(test.status)
			}))
			defer s.Close()
			w := newWorld(healthcheck.Active{Path: test.path, Header: []healthcheck.Field{{Name: "X-Probe", Value: "1"}, {Name: "x-probe", Value: "2"}}})
			w.check(t, w.add(addrOf(t, s.Listener), "a.test"), test.want)
			if asked := wrong.Load(); asked != nil {
				t.Errorf("asked by %v", asked)
			}
		})
	}
	t.Run("redirects are not followed", func(t *testing.T) {
		t.Parallel()
		s := httptest.NewServer(http.RedirectHandler("/elsewhere", http.StatusFound))
		defer s.Close()
		w := newWorld(healthcheck.Active{Host: "called.test"})
		w.checks.Active.Unhealthy.Statuses = healthcheck.StatusesOf(302)
		w.check(t, w.add(addrOf(t, s.Listener), "a.test"), false)
	})
}

func TestHTTPS(t *testing.T) {
	t.Parallel()
	var shown atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { shown.Store(int32(len(r.TLS.PeerCertificates))) }))
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	own := s.TLS.Certificates[0]
	for name, test := range map[string]struct {
		config *tls.Config
		host   string
		want   bool
	}{
		"trusted":      {&tls.Config{RootCAs: roots}, "example.com", true},
		"another name": {&tls.Config{RootCAs: roots}, "bank.test", false},
		"SNI":          {&tls.Config{RootCAs: roots, ServerName: "example.com"}, "bank.test", true},
		"nobody's":     {&tls.Config{RootCAs: x509.NewCertPool()}, "example.com", false},
		"not verified": {&tls.Config{InsecureSkipVerify: true}, "bank.test", true},
		"own certificate": {&tls.Config{RootCAs: roots, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &own, nil
		}}, "example.com", true},
	} {
		w := newWorld(healthcheck.Active{Kind: healthcheck.HTTPS, SNI: test.config.ServerName, TLS: named(test.config)})
		shown.Store(-1)
		w.check(t, w.add(addrOf(t, s.Listener), test.host), test.want)
		if n, want := shown.Load(), map[bool]int32{true: 1, false: 0}[test.config.GetClientCertificate != nil]; test.want && n != want {
			t.Errorf("%s: %d certificates were shown, want %d", name, n, want)
		}
		if t.Failed() {
			t.Fatalf("in %s", name)
		}
	}
}

// named makes configurations of one.
func named(c *tls.Config) func(string) *tls.Config {
	return func(name string) *tls.Config {
		own := c.Clone()
		own.ServerName = name
		return own
	}
}

// Servers that die, are silent or speak something else.
func TestDeadServers(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	refused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = refused.Close()
	for _, kind := range []healthcheck.Kind{healthcheck.HTTP, healthcheck.HTTPS, healthcheck.TCP, healthcheck.GRPC, healthcheck.GRPCS} {
		for name, l := range map[string]net.Listener{"silent": silent, "refused": refused} {
			t.Run(fmt.Sprint(kind, name), func(t *testing.T) {
				t.Parallel()
				w := newWorld(healthcheck.Active{Kind: kind, TLS: named(&tls.Config{}), Timeout: 50 * time.Millisecond})
				w.checks.Active.Unhealthy.TCPFailures = 0
				if name == "refused" {
					w.checks.Active.Timeout = 10 * time.Second
					w.checks.Active.Unhealthy.TCPFailures, w.checks.Active.Unhealthy.Timeouts = 1, 0
				}
				w.check(t, w.add(addrOf(t, l), "a.test"), kind == healthcheck.TCP && name == "silent")
			})
		}
	}
}

func TestGRPC(t *testing.T) {
	t.Parallel()
	certified := httptest.NewUnstartedServer(nil)
	certified.StartTLS()
	t.Cleanup(certified.Close)
	roots := x509.NewCertPool()
	roots.AddCert(certified.Certificate())
	for name, test := range map[string]struct {
		serve  func(*grpc.Server)
		secure bool
		want   bool
	}{
		"serving":          {func(s *grpc.Server) { healthv1.RegisterHealthServer(s, health.NewServer()) }, false, true},
		"not serving":      {func(s *grpc.Server) { h := health.NewServer(); h.Shutdown(); healthv1.RegisterHealthServer(s, h) }, false, false},
		"no service":       {func(*grpc.Server) {}, false, true},
		"TLS":              {func(s *grpc.Server) { healthv1.RegisterHealthServer(s, health.NewServer()) }, true, true},
		"TLS, not serving": {func(s *grpc.Server) { h := health.NewServer(); h.Shutdown(); healthv1.RegisterHealthServer(s, h) }, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var options []grpc.ServerOption
			active := healthcheck.Active{Kind: healthcheck.GRPC}
			if test.secure {
				options = append(options, grpc.Creds(credentials.NewServerTLSFromCert(&certified.TLS.Certificates[0])))
				active.Kind, active.SNI, active.TLS = healthcheck.GRPCS, "example.com", named(&tls.Config{RootCAs: roots})
			}
			s := grpc.NewServer(options...)
			test.serve(s)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_ = s.Serve(l)
			}()
			defer func() {
				s.Stop()
				<-ended
			}()
			w := newWorld(active)
			w.check(t, w.add(addrOf(t, l), "a.test"), test.want)
		})
	}
}

// A target that dies falls, and recovers when it is back.
func TestDeathAndRecovery(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(healthcheck.Active{Kind: healthcheck.TCP})
	state := w.add(addrOf(t, l), "a.test")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = healthcheck.New(w, nil).Run(ctx)
	}()
	await := func(healthy bool) {
		t.Helper()
		for start := time.Now(); state.Healthy() != healthy; time.Sleep(time.Millisecond) {
			if time.Since(start) > 30*time.Second {
				t.Fatalf("healthy is still %v", !healthy)
			}
		}
	}
	_ = l.Close()
	await(false)
	if l, err = net.Listen("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	await(true)
	_ = l.Close()
	cancel()
	<-ended
}
