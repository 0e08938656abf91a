package vaultclient_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/vault/api"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/vaultclient"
	"github.com/keepgate/keepgate/shared/vaultclient/vaulttest"
)

func client(t *testing.T, options vaultclient.Options) *vaultclient.Client {
	t.Helper()
	c, err := vaultclient.New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func session(t *testing.T, s *vaulttest.Server, token string) *vaultclient.Session {
	t.Helper()
	return withToken(t, client(t, vaultclient.Options{Address: s.URL, CAFile: s.CAFile}), token)
}

func withToken(t *testing.T, c *vaultclient.Client, token string) *vaultclient.Session {
	t.Helper()
	s, err := c.WithToken(secret.Take([]byte(token)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// writer is Vault's own client, for what the product never does.
func writer(t *testing.T, address, token, caFile string) *api.Client {
	t.Helper()
	config := api.DefaultConfig()
	config.Address = address
	if err := config.ConfigureTLS(&api.TLSConfig{CACert: caFile}); err != nil {
		t.Fatal(err)
	}
	w, err := api.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	w.SetToken(token)
	return w
}

func shown(s secret.Bytes) (text string) {
	s.Reveal(func(data []byte) { text = string(data) })
	return text
}

func TestReadsVersions(t *testing.T) {
	t.Parallel()
	vaulttest.Each(t, func(t *testing.T, target vaulttest.Target) {
		w := writer(t, target.Address, target.Token, target.CAFile)
		mount := "team/keepgate-" + uuid.NewString()
		if err := w.Sys().Mount(mount, &api.MountInput{Type: "kv", Options: map[string]string{"version": "2"}}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = w.Sys().Unmount(mount) })
		kv := w.KVv2(mount)
		const path = "a b/ring%1"
		for i := 0; i < 3; {
			if _, err := kv.Put(t.Context(), path, map[string]any{"id": fmt.Sprintf("AAAAAAA%d", i), "key": "k\u00e9\"\n", "n": 1.5, "o": map[string]any{"x": "y"}}); err == nil {
				i++
			}
		}
		if err := kv.DeleteVersions(t.Context(), path, []int{1}); err != nil {
			t.Fatal(err)
		}
		if err := kv.Destroy(t.Context(), path, []int{2}); err != nil {
			t.Fatal(err)
		}
		s := withToken(t, client(t, vaultclient.Options{Address: target.Address, CAFile: target.CAFile}), target.Token)
		got, err := s.Metadata(t.Context(), "/"+mount+"/", path)
		if err != nil || got.Current != 3 || len(got.Versions) != 3 {
			t.Fatalf("Metadata = %+v, %v", got, err)
		}
		now := time.Now().Add(time.Minute)
		if v := got.Versions; !v[0].Deleted(now) || v[0].Destroyed || !v[1].Destroyed || !v[1].Deleted(now) || v[2].Deleted(now) || v[2].Number != 3 || v[2].Created == "" {
			t.Errorf("versions %+v", v)
		}
		for _, version := range []int{0, 3} {
			found, err := s.Read(t.Context(), mount, path, version)
			if err != nil || found.Version != 3 || shown(found.Texts["id"]) != "AAAAAAA2" || shown(found.Texts["key"]) != "k\u00e9\"\n" || shown(found.Others["n"]) != "1.5" || shown(found.Others["o"]) != `{"x":"y"}` {
				t.Errorf("Read %d = %v, %v", version, found.Version, err)
			}
			found.Wipe()
		}
		for _, version := range []int{1, 2, 4} {
			if _, err := s.Read(t.Context(), mount, path, version); err == nil || fault.KindOf(err) != fault.NotFound || vaultclient.StepOf(err) != vaultclient.StepRead {
				t.Errorf("Read %d = %v, want not found", version, err)
			}
		}
		if _, err := s.Metadata(t.Context(), mount, "nothing"); fault.KindOf(err) != fault.NotFound {
			t.Errorf("Metadata of nothing = %v", err)
		}
		if names, err := s.List(t.Context(), mount, ""); err != nil || !slices.Equal(names, []string{"a b/"}) {
			t.Errorf("List = %q, %v", names, err)
		}
		if names, err := s.List(t.Context(), mount, "a b"); err != nil || !slices.Equal(names, []string{"ring%1"}) {
			t.Errorf("List = %q, %v", names, err)
		}
	})
}

func TestSessions(t *testing.T) {
	t.Parallel()
	server := vaulttest.Start(t)
	mine := server.Token(time.Minute, "default")
	s := session(t, server, mine+"\n")
	if got, err := s.Lookup(t.Context()); err != nil || got.TTL <= 0 || got.TTL > time.Minute || !got.Renewable || !slices.Equal(got.Policies, []string{"default"}) {
		t.Errorf("Lookup = %+v, %v", got, err)
	}
	server.Advance(50 * time.Second)
	if got, err := s.Renew(t.Context()); err != nil || got.TTL != time.Minute {
		t.Errorf("Renew = %+v, %v", got, err)
	}
	if err := s.Close(t.Context()); err != nil || server.Tokens() != 1 {
		t.Errorf("Close = %v; %d tokens, want that of somebody else to live", err, server.Tokens())
	}

	file := filepath.Join(t.TempDir(), "token")
	c := client(t, vaultclient.Options{Address: server.URL, CAFile: server.CAFile})
	for i, jwt := range []string{"one.a.b", "two.a.b"} { // read at each login
		if err := os.WriteFile(file, []byte(jwt+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		server.Role("keepgate", jwt, time.Minute)
		k, err := c.Kubernetes(t.Context(), "kubernetes", "keepgate", file)
		if err != nil || server.Tokens() != 2 {
			t.Fatalf("login %d = %v, %d tokens", i, err, server.Tokens())
		}
		if err := k.Close(t.Context()); err != nil || server.Tokens() != 1 {
			t.Errorf("Close = %v; %d tokens, want the login's own to be gone", err, server.Tokens())
		}
	}
	for name, test := range map[string]struct {
		role, file string
		kind       fault.Kind
	}{
		"another role": {"other", file, fault.Denied}, "no file": {"keepgate", file + "x", fault.Invalid}, "a folder": {"keepgate", filepath.Dir(file), fault.Invalid},
	} {
		if _, err := c.Kubernetes(t.Context(), "kubernetes", test.role, test.file); err == nil || fault.KindOf(err) != test.kind || vaultclient.StepOf(err) != vaultclient.StepLogin {
			t.Errorf("%s = %v, want %v", name, err, test.kind)
		}
	}
	for _, request := range server.Requests() {
		if request.Token == "" && request.Path != "auth/kubernetes/login" {
			t.Errorf("a request without a token: %+v", request)
		}
	}
}

func TestFaultsAreTyped(t *testing.T) {
	t.Parallel()
	const canary = "canary-4d1f"
	tests := map[string]struct {
		breaks   func(s *vaulttest.Server)
		token    string // "": the root's
		kind     fault.Kind
		step     vaultclient.Step
		contains string
		requests int // that reach the server
	}{
		"sealed":       {func(s *vaulttest.Server) { s.Seal(true) }, "", fault.Unavailable, vaultclient.StepServer, "sealed: unseal it", 3},
		"a standby":    {func(s *vaulttest.Server) { s.Performance(true) }, "", fault.Unavailable, vaultclient.StepServer, "standby", 1},
		"over and out": {func(s *vaulttest.Server) { s.Fault(vaulttest.Fault{Status: 429}) }, "", fault.Unavailable, vaultclient.StepServer, "429", 3},
		"broken":       {func(s *vaulttest.Server) { s.Fault(vaulttest.Fault{Status: 500}) }, "", fault.Unavailable, vaultclient.StepServer, "500", 3},
		"broken once":  {func(s *vaulttest.Server) { s.Fault(vaulttest.Fault{Status: 500, Times: 2}) }, "", 99, "", "", 3},
		"cut once":     {func(s *vaulttest.Server) { s.Fault(vaulttest.Fault{Cut: true, Times: 1}) }, "", 99, "", "", 1},
		"asked to wait": {
			func(s *vaulttest.Server) { s.Fault(vaulttest.Fault{Status: 503, RetryAfter: 1, Times: 1}) }, "", 99, "", "", 2,
		},
		"asked to wait for long": {
			func(s *vaulttest.Server) { s.Fault(vaulttest.Fault{Status: 429, RetryAfter: 3600}) }, "", fault.Unavailable, vaultclient.StepServer, "429", 1,
		},
		"hanging":       {func(s *vaulttest.Server) { s.Fault(vaulttest.Fault{Hang: true}) }, "", fault.Unavailable, vaultclient.StepServer, "in time", -1},
		"down":          {func(s *vaulttest.Server) { s.Down() }, "", fault.Unavailable, vaultclient.StepTCP, "refused", 0},
		"a wrong token": {func(*vaulttest.Server) {}, canary, fault.Denied, vaultclient.StepRead, "wrong or expired", 1},
		"no JSON":       {func(s *vaulttest.Server) { s.Fault(vaulttest.Fault{Status: 200, Body: "<html>"}) }, "", fault.Corrupt, vaultclient.StepServer, "is this Vault", 1},
		"another's JSON": {func(s *vaulttest.Server) {
			s.Fault(vaulttest.Fault{Status: 200, Body: `{"data":{"versions":{"x":{}}}}`})
		}, "", fault.Corrupt, vaultclient.StepServer, "version 2", 1},
		"a mirror": {func(s *vaulttest.Server) {
			s.Fault(vaulttest.Fault{Status: 400, Body: `{"errors":["you sent ` + canary + `"]}`})
		}, canary, fault.Invalid, vaultclient.StepRead, "holds the token", 1},
		"much text": {func(s *vaulttest.Server) {
			s.Fault(vaulttest.Fault{Status: 400, Body: `{"errors":["` + strings.Repeat("\\u001b\\n", 5000) + `"]}`})
		}, "", fault.Invalid, vaultclient.StepRead, "? ?", 1},
		"endless": {func(s *vaulttest.Server) { s.Fault(vaulttest.Fault{Status: 200, Body: strings.Repeat(" ", 2<<20)}) }, "", fault.Unavailable, vaultclient.StepServer, "longer", -1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := vaulttest.Start(t)
			kv := writer(t, server.URL, server.Root, server.CAFile).KVv2("secret")
			if _, err := kv.Put(t.Context(), "keys", map[string]any{"id": "a"}); err != nil {
				t.Fatal(err)
			}
			options := vaultclient.Options{Address: server.URL, CAFile: server.CAFile}
			if name == "hanging" {
				options.Timeout, options.Attempts = 5*time.Second, 1 // long enough for a handshake on a machine that is busy
			}
			token := test.token
			if token == "" {
				token = server.Root
			}
			s := withToken(t, client(t, options), token)
			test.breaks(server)
			server.Requests()
			_, err := s.Metadata(t.Context(), "secret", "keys")
			if test.kind == 99 && err != nil {
				t.Fatalf("Metadata = %v", err)
			}
			if test.kind != 99 && (err == nil || fault.KindOf(err) != test.kind || vaultclient.StepOf(err) != test.step || !strings.Contains(err.Error(), test.contains)) {
				t.Fatalf("Metadata = %v (step %s), want %v at %s", err, vaultclient.StepOf(err), test.kind, test.step)
			}
			if err != nil && (strings.Contains(err.Error(), canary) || len(err.Error()) > 600) {
				t.Errorf("what the error shows: %v", err)
			}
			if got := len(server.Requests()); test.requests >= 0 && got != test.requests {
				t.Errorf("%d requests, want %d", got, test.requests)
			}
		})
	}
}

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

func TestBadTokensAndPaths(t *testing.T) {
	t.Parallel()
	server := vaulttest.Start(t)
	c := client(t, vaultclient.Options{Address: server.URL, CAFile: server.CAFile})
	for _, token := range []string{"", "  ", "a b", "a\nX-Other: b", "\u00e9", strings.Repeat("a", 20000)} {
		if _, err := c.WithToken(secret.Take([]byte(token))); fault.KindOf(err) != fault.Invalid || err == nil {
			t.Errorf("a token of %d bytes = %v", len(token), err)
		}
	}
	s := withToken(t, c, server.Root)
	for _, path := range []string{"", "/", "..", "a/../b", "a//b", "a/./b", "a\x00b"} {
		if _, err := s.Read(t.Context(), "secret", path, 1); err == nil || fault.KindOf(err) != fault.Invalid {
			t.Errorf("path %q = %v", path, err)
		}
		if _, err := s.Metadata(t.Context(), path, "keys"); err == nil || fault.KindOf(err) != fault.Invalid {
			t.Errorf("mount %q = %v", path, err)
		}
		if _, err := c.Kubernetes(t.Context(), path+"/..", "x", server.CAFile); err == nil {
			t.Errorf("auth mount %q was taken", path)
		}
	}
	for _, path := range []string{"a?list=true", "a#b", "a%2fb", "a;b"} { // one segment each, whatever they look like
		if _, err := s.Read(t.Context(), "secret", path, 1); fault.KindOf(err) != fault.NotFound {
			t.Errorf("path %q = %v", path, err)
		}
	}
	want := []string{"secret/data/a#b", "secret/data/a%2fb", "secret/data/a;b", "secret/data/a?list=true"}
	var got []string
	for _, r := range server.Requests() {
		got = append(got, r.Path)
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("asked for %q, want %q", got, want)
	}
}

func TestNothingPrintsAToken(t *testing.T) {
	t.Parallel()
	server := vaulttest.Start(t)
	s := session(t, server, "hvs.canary-1")
	_, err := s.Lookup(t.Context())
	for _, text := range []string{fmt.Sprintf("%v %+v %#v", s, *s, s), fmt.Sprintf("%v %+v %#v", err, err, errors.Unwrap(err))} {
		if strings.Contains(text, "canary") {
			t.Errorf("it shows: %s", text)
		}
	}
}
