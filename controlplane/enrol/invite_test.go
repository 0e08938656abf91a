package enrol_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/enrol"
	"github.com/keepgate/keepgate/shared/fault"
)

func addr(text string) netip.Addr { return netip.MustParseAddr(text) }

func TestInviteRefuses(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ctx := t.Context()
	invite := func(n *node, in enrol.Invitation) error {
		_, _, err := n.service.Invite(ctx, in)
		return err
	}
	before := e.node()
	if err := invite(before, enrol.Invitation{Environment: "default"}); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "fleet authority create") {
		t.Errorf("nobody can certify: %v", err)
	}
	n := e.node().found()
	for name, in := range map[string]enrol.Invitation{
		"no environment":      {},
		"a bad environment":   {Environment: "a/b"},
		"a bad name":          {Environment: "default", Name: "-a"},
		"a long name":         {Environment: "default", Name: strings.Repeat("a", 64)},
		"too long":            {Environment: "default", Expires: 8 * 24 * time.Hour},
		"too short":           {Environment: "default", Expires: time.Millisecond},
		"the past":            {Environment: "default", Expires: -time.Hour},
		"another environment": {Environment: "prod"},
	} {
		err := invite(n, in)
		if kind := fault.KindOf(err); err == nil || kind != fault.Invalid && kind != fault.NotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
	n.journal.fail(true)
	if err := invite(n, enrol.Invitation{Environment: "default"}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a token without an entry: %v", err)
	}
	n.journal.fail(false)
	off := e.node(func(o *enrol.Options) {
		o.Refusal = func() error { return fault.Newf(fault.Invalid, "app.Enrol", "cluster_mtls", "set cluster_mtls = pki") }
	})
	if err := invite(off, enrol.Invitation{Environment: "default"}); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "cluster_mtls") {
		t.Errorf("as the settings are: %v", err)
	}
	strict := e.node(func(o *enrol.Options) {
		o.Allows = func(name string) error {
			if !strings.HasSuffix(name, ".example.com") {
				return errors.New("it is not below example.com")
			}
			return nil
		}
	}).serve()
	if err := invite(strict, enrol.Invitation{Environment: "default", Name: "edge-1"}); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "example.com") {
		t.Errorf("a name that could not link: %v", err)
	}
	if list, _, err := n.service.Tokens(ctx); err != nil || len(list) != 0 {
		t.Errorf("tokens were made: %v %v", list, err)
	}
	token := strict.invite("default", "")
	answer, err := strict.join(token, asking{name: "edge-1"})
	wantRefused(t, "a node's word for such a name", answer, err, "example.com")
	if _, err := strict.join(token, asking{name: "edge-1.example.com"}); err != nil {
		t.Errorf("a name that can: %v", err)
	}
}

func TestOldTokensAreForgotten(t *testing.T) {
	t.Parallel()
	n := newEnv(t).node(func(o *enrol.Options) { o.PurgeDelay = time.Hour }).found()
	n.invite("default", "")
	left := func(after time.Duration) int {
		n.must(enrol.Purge(t.Context(), n.service, time.Now().Add(after)))
		list, _, err := n.service.Tokens(t.Context())
		n.must(err)
		return len(list)
	}
	if early, late := left(110*time.Minute), left(121*time.Minute); early != 1 || late != 0 {
		t.Errorf("%d and %d are left of one that expired 50 and 61 minutes ago", early, late)
	}
}

// TestTokenForm holds the stored form.
func TestTokenForm(t *testing.T) {
	t.Parallel()
	token := enrol.Token{
		ID: "9b2f8a53-4c2a-4d1a-9f11-000000000001", Hash: strings.Repeat("ab", 32), Environment: "prod", Name: "edge-1",
		CreatedAt: 1, CreatedBy: "alice", ExpiresAt: 3, WithdrawnAt: 4,
		Used: &enrol.Use{At: 2, From: "192.0.2.1", Identity: "keepgate://data-plane/acme/prod/edge-1", Serial: "0a", Key: strings.Repeat("cd", 32), Chain: [][]byte{{1}, {2}}},
	}
	text, err := enrol.EncodeToken(token)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "token.golden.json")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(path)
	if err != nil || strings.TrimSpace(string(golden)) != text {
		t.Errorf("the stored form is %s (%v), want %s", text, err, golden)
	}
	read, err := enrol.ParseToken(strings.TrimSpace(string(golden)))
	if diff := cmp.Diff(token, read); diff != "" || err != nil {
		t.Errorf("read (-want +got):\n%s%v", diff, err)
	}
}

func FuzzParseToken(f *testing.F) {
	hash := strings.Repeat("ab", 32)
	f.Add(`{"id":"a","hash":"` + hash + `","environment":"prod","created_at":1,"expires_at":2}`)
	for _, bad := range []string{
		``, `{}`, `null`, `{"id":"a","hash":"ab","environment":"prod","created_at":1,"expires_at":2}`,
		`{"id":"a","hash":"` + hash + `","environment":"","created_at":1,"expires_at":2}`,
		`{"id":"a","hash":"` + hash + `","environment":"prod","created_at":1,"expires_at":0}`,
		`{"id":"a","hash":"` + hash + `","environment":"prod","created_at":1,"expires_at":2,"used":{}}`,
		`{"id":"a","hash":"` + hash + `","environment":"prod","created_at":1,"expires_at":2,"more":1}`,
	} {
		if _, err := enrol.ParseToken(bad); err == nil {
			f.Errorf("%s is taken for a token", bad)
		}
		f.Add(bad)
	}
	f.Fuzz(func(t *testing.T, text string) {
		token, err := enrol.ParseToken(text)
		if err != nil {
			return
		}
		again, err := enrol.EncodeToken(token)
		if err != nil {
			t.Fatal(err)
		}
		if same, err := enrol.ParseToken(again); err != nil || same.ID != token.ID || same.Environment != token.Environment {
			t.Errorf("%q becomes %q: %v", text, again, err)
		}
	})
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0x30, 0})
	f.Fuzz(func(_ *testing.T, der []byte) { _ = enrol.CheckRequest(der) })
}
