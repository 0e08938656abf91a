package admin_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/admin"
	"github.com/keepgate/keepgate/controlplane/admin/guard"
	"github.com/keepgate/keepgate/controlplane/keyring/local"
)

func TestHostAndOrigin(t *testing.T) {
	t.Parallel()
	e := newEnvWith(t, local.New(filepath.Join(t.TempDir(), "key")), admin.Options{
		Version: "0.1.0", AllowedHosts: []string{"keep.example.com"}, AllowedOrigins: []string{"https://gui.example.com"},
	})
	tests := map[string]struct {
		method, path string
		headers      []string
		status       int
	}{
		"own address":                  {"GET", "/services", nil, 200},
		"localhost":                    {"GET", "/services", []string{"Host", "localhost:8001"}, 200},
		"LOCALHOST.":                   {"GET", "/services", []string{"Host", "LOCALHOST."}, 200},
		"IPv6":                         {"GET", "/services", []string{"Host", "[::1]:8001"}, 200},
		"127.1.2.3":                    {"GET", "/services", []string{"Host", "127.1.2.3"}, 200},
		"configured":                   {"GET", "/services", []string{"Host", "keep.example.com:8444"}, 200},
		"rebinding":                    {"GET", "/services", []string{"Host", "attacker.example"}, 403},
		"looks like localhost":         {"GET", "/services", []string{"Host", "localhost.attacker.example"}, 403},
		"begins with 127":              {"GET", "/services", []string{"Host", "127.0.0.1.attacker.example"}, 403},
		"user in front":                {"GET", "/services", []string{"Host", "localhost@attacker.example"}, 403},
		"another address":              {"GET", "/services", []string{"Host", "10.0.0.1"}, 403},
		"unspecified address":          {"GET", "/services", []string{"Host", "0.0.0.0"}, 403},
		"below the configured":         {"GET", "/services", []string{"Host", "x.keep.example.com"}, 403},
		"page of another site writes":  {"POST", "/consumers", []string{"Origin", "https://attacker.example"}, 403},
		"page without CORS writes":     {"POST", "/consumers", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		"same site is not same origin": {"DELETE", "/consumers/x", []string{"Sec-Fetch-Site", "same-site"}, 403},
		"null origin writes":           {"POST", "/consumers", []string{"Origin", "null"}, 403},
		"allowed origin writes":        {"POST", "/consumers", []string{"Origin", "https://gui.example.com", "Sec-Fetch-Site", "cross-site"}, 400},
		"curl writes":                  {"POST", "/consumers", nil, 400},
		"page makes a key":             {"POST", "/keyring/generate", []string{"Origin", "https://gui.example.com", "Sec-Fetch-Site", "cross-site"}, 403},
		"forwarded makes a key":        {"POST", "/keyring/generate", []string{"X-Forwarded-For", "10.0.0.1"}, 403},
		"forwarded dumps":              {"GET", "/config", []string{"Forwarded", "for=10.0.0.1"}, 403},
		"forwarded recovers":           {"POST", "/keyring/recover", []string{"Via", "1.1 proxy"}, 403},
		"forwarded with the token":     {"POST", "/keyring/generate", []string{"X-Forwarded-For", "10.0.0.1", "Keepgate-Admin-Token", testToken}, 201},
		"Kong's token header":          {"GET", "/config", []string{"X-Forwarded-For", "10.0.0.1", "Kong-Admin-Token", testToken}, 200},
		"wrong token, even local":      {"GET", "/config", []string{"Keepgate-Admin-Token", testToken + "x"}, 403},
		"local dumps":                  {"GET", "/config", nil, 200},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := e.do(test.method, test.path, "", "", test.headers...)
			if a.status != test.status {
				t.Errorf("%d, want %d: %s", a.status, test.status, a.text)
			}
			if allowed := a.header.Get("Access-Control-Allow-Origin"); allowed != "" && allowed != "https://gui.example.com" {
				t.Errorf("Access-Control-Allow-Origin: %s", allowed)
			}
		})
	}
}

func TestPreflight(t *testing.T) {
	t.Parallel()
	e := newEnvWith(t, nil, admin.Options{Version: "1", AllowedOrigins: []string{"https://gui.example.com"}})
	asks := func(origin string) http.Header {
		return e.do("OPTIONS", "/services", "", "", "Origin", origin, "Access-Control-Request-Headers", "X-Mine").header
	}
	if h := asks("https://gui.example.com"); h.Get("Access-Control-Allow-Origin") != "https://gui.example.com" ||
		h.Get("Access-Control-Allow-Methods") != "GET, HEAD, OPTIONS, POST" || h.Get("Access-Control-Allow-Headers") != "X-Mine" {
		t.Errorf("the allowed origin: %v", h)
	}
	for name := range asks("https://attacker.example") {
		if strings.HasPrefix(name, "Access-Control") {
			t.Errorf("another origin gets %s", name)
		}
	}
	if _, err := admin.New(e.deps, admin.Options{AllowedOrigins: []string{"gui.example.com"}}); err == nil {
		t.Error("an origin without a scheme was taken")
	}
}

func TestHeaderNames(t *testing.T) {
	t.Parallel()
	for names, want := range map[string][3]string{
		"keepgate": {"keepgate/1", "yes", ""}, "kong": {"kong/3.8.1", "", "yes"}, "both": {"keepgate/1", "yes", "yes"},
	} {
		e := newEnvWith(t, nil, admin.Options{Version: "1", HeaderNames: names})
		h := e.get("/").header
		got := [3]string{h.Get("Server")}
		for i, name := range []string{"X-Keepgate-Admin-Latency", "X-Kong-Admin-Latency"} {
			if h.Get(name) != "" {
				got[i+1] = "yes"
			}
		}
		if got != want {
			t.Errorf("header_names = %s: %v, want %v", names, got, want)
		}
	}
}

func TestCheckListen(t *testing.T) {
	t.Parallel()
	for address, ok := range map[string]bool{
		"127.0.0.1:8001": true, "[::1]:8444": true, "localhost:8001": true, "[::ffff:127.0.0.1]:1": true,
		"0.0.0.0:8001": false, "[::]:8001": false, "10.0.0.1:8001": false, ":8001": false, "example.com:8001": false,
	} {
		for _, test := range []struct{ tls, rbac, ok bool }{{false, false, ok}, {true, false, ok}, {false, true, ok}, {true, true, true}} {
			err := admin.CheckListen([]guard.Listener{{Address: address, TLS: test.tls}}, test.rbac)
			if (err == nil) != test.ok {
				t.Errorf("%s, TLS %t, enforce_rbac %t: %v", address, test.tls, test.rbac, err)
			}
		}
	}
}

func TestServe(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	server, err := admin.New(e.deps, admin.Options{Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	open, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Serve(t.Context(), admin.Endpoint{Listener: open}); err == nil || !strings.Contains(err.Error(), "admin_listen") {
		t.Errorf("an open listener: %v", err)
	}
	local, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, admin.Endpoint{Listener: local}) }()
	response, err := http.Get("http://" + local.Addr().String() + "/status")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	stop()
	select {
	case err := <-ended:
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("Serve = %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Serve does not end")
	}
}

func TestLoadToken(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "admin.token")
	first, notice, err := admin.LoadToken(path)
	if err != nil || notice == "" || first.Len() < 20 {
		t.Fatalf("first: %d bytes, %q, %v", first.Len(), notice, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	again, notice, err := admin.LoadToken(path)
	if err != nil || notice != "" || !first.Equal(again) {
		t.Errorf("again: %q, %v", notice, err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := admin.LoadToken(path); err == nil {
		t.Error("a token that everybody can read was taken")
	}
	short := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(short, []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := admin.LoadToken(short); err == nil {
		t.Error("a short token was taken")
	}
}
