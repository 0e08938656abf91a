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

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/vaultclient"
	"github.com/keepgate/keepgate/shared/vaultclient/vaulttest"
)

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
