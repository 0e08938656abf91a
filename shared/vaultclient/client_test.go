package vaultclient_test

import (
	"fmt"
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
