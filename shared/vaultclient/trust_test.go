package vaultclient_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/vaultclient"
	"github.com/keepgate/keepgate/shared/vaultclient/vaulttest"
)

func TestAddresses(t *testing.T) {
	t.Parallel()
	for address, remedy := range map[string]string{
		"https://vault.example.com:8200": "", "https://vault.example.com/": "", "https://[::1]:8200": "", "http://127.0.0.1:8200": "", "http://localhost:8200": "", "http://[::1]:1": "",
		"": "empty", "vault.example.com:8200": "URL", "ftp://vault:1": "scheme", "http://vault.example.com:8200": "in clear", "http://10.0.0.1:8200": "in clear",
		"https://u:p@vault:1": "user", "https://vault:1/v1/secret": "apart", "https://vault:1?x": "apart", "https://vault:1#x": "apart", "https://": "URL", "https:vault": "URL", "::": "URL",
	} {
		err := vaultclient.CheckAddress(address)
		if (err == nil) != (remedy == "") || (err != nil && (!strings.Contains(err.Error(), remedy) || fault.KindOf(err) != fault.Invalid || vaultclient.StepOf(err) != vaultclient.StepAddress)) {
			t.Errorf("CheckAddress(%q) = %v, want %q", address, err, remedy)
		}
	}
	if err := vaultclient.CheckAddress("https://user:canary@vault:1"); strings.Contains(err.Error(), "canary") {
		t.Errorf("the error shows a password: %v", err)
	}
}

func TestTrust(t *testing.T) {
	t.Parallel()
	server, other := vaulttest.Start(t), vaulttest.Start(t)
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ ca, contains string }{
		"another authority": {other.CAFile, "nobody who is trusted"}, "the system's": {"", "nobody who is trusted"},
		"no file": {empty + "x", "no such file"}, "no certificate": {empty, "no certificate in PEM"},
	} {
		s := withToken(t, client(t, vaultclient.Options{Address: server.URL, CAFile: test.ca}), server.Root)
		_, err := s.Metadata(t.Context(), "secret", "keys")
		if fault.KindOf(err) != fault.Unavailable || vaultclient.StepOf(err) != vaultclient.StepTLS || !strings.Contains(err.Error(), test.contains) {
			t.Errorf("%s = %v", name, err)
		}
	}
	if seen := slices.Concat(server.Requests(), other.Requests()); len(seen) > 0 {
		t.Errorf("somebody got requests: %v", seen)
	}

	ca := filepath.Join(t.TempDir(), "ca.pem")
	copyFile(t, other.CAFile, ca)
	s := withToken(t, client(t, vaultclient.Options{Address: server.URL, CAFile: ca}), server.Root)
	if _, err := s.Metadata(t.Context(), "secret", "keys"); vaultclient.StepOf(err) != vaultclient.StepTLS {
		t.Errorf("before the file is replaced: %v", err)
	}
	copyFile(t, server.CAFile, ca)
	if _, err := s.Metadata(t.Context(), "secret", "keys"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("after the file was replaced: %v", err)
	}
	byName := strings.Replace(server.URL, "127.0.0.1", "127.0.0.2", 1) // not in the certificate
	s = withToken(t, client(t, vaultclient.Options{Address: byName, CAFile: server.CAFile}), server.Root)
	if _, err := s.Metadata(t.Context(), "secret", "keys"); err == nil || fault.KindOf(err) != fault.Unavailable {
		t.Errorf("another name = %v", err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestStandbysPoint(t *testing.T) {
	t.Parallel()
	standby, active, clear := vaulttest.Start(t), vaulttest.Start(t), vaulttest.StartInClear(t)
	both := filepath.Join(t.TempDir(), "ca.pem")
	one, _ := os.ReadFile(standby.CAFile)
	two, _ := os.ReadFile(active.CAFile)
	if err := os.WriteFile(both, slices.Concat(one, two), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := writer(t, active.URL, active.Root, active.CAFile).KVv2("secret").Put(t.Context(), "keys", map[string]any{"id": "a"}); err != nil {
		t.Fatal(err)
	}
	s := withToken(t, client(t, vaultclient.Options{Address: standby.URL, CAFile: both}), active.Root)
	standby.Standby(active.URL)
	if got, err := s.Read(t.Context(), "secret", "keys", 1); err != nil || got.Version != 1 {
		t.Errorf("Read = %v", err)
	}
	inClear := withToken(t, client(t, vaultclient.Options{Address: clear.URL}), clear.Root)
	for name, test := range map[string]struct {
		session  *vaultclient.Session
		from     *vaulttest.Server
		to       string
		contains string
	}{
		"to clear":             {s, standby, clear.URL, "asked by https"},
		"round and round":      {s, standby, standby.URL, "over and over"},
		"from clear elsewhere": {inClear, clear, "http://192.0.2.1:8200", "another host"},
		"with a password":      {s, standby, "https://u:p@127.0.0.1:1", "no server"},
		"to another scheme":    {s, standby, "file:///etc", "no server"},
	} {
		active.Requests()
		clear.Requests()
		test.from.Standby(test.to)
		if _, err := test.session.Metadata(t.Context(), "secret", "keys"); fault.KindOf(err) != fault.Denied || vaultclient.StepOf(err) != vaultclient.StepAddress || !strings.Contains(err.Error(), test.contains) {
			t.Errorf("%s = %v", name, err)
		}
		if seen := slices.Concat(active.Requests(), clear.Requests()); len(seen) > 0 {
			t.Errorf("%s: somebody got %v", name, seen)
		}
	}
	clear.Standby("")
	if _, err := inClear.Metadata(t.Context(), "secret", "keys"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("in clear on this machine = %v", err)
	}
}
