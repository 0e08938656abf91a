package admin_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/admin/keys"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

// aVault remembers by what it was read.
type aVault struct {
	tokens []string
	lent   []secret.Bytes
	err    error
}

func (v *aVault) Now(_ context.Context, token secret.Bytes) error {
	token.Reveal(func(data []byte) { v.tokens = append(v.tokens, string(data)) })
	v.lent = append(v.lent, token)
	return v.err
}

func TestVaultSync(t *testing.T) {
	t.Parallel()
	e, vault := newEnv(t), &aVault{}
	e.keyroom(func(d *keys.Deps) {
		d.Vault, d.VaultStatus = vault, func() any { return map[string]any{"current_version": 7} }
	})
	const token = "hvs.canary"
	for name, encode := range formats {
		contentType, body := encode(map[string]string{"token": token + "\n"})
		if a := e.do("POST", "/keyring/vault/sync", contentType, body); a.status != 204 || a.text != "" {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	if a := e.do("POST", "/keyring/vault/sync", "", ""); a.status != 204 {
		t.Errorf("without a body: %d %s", a.status, a.text)
	}
	if strings.Join(vault.tokens, " ") != token+" "+token+" "+token+" " || e.woken.Load() != 4 {
		t.Errorf("read by %q, rows looked at again %d times", vault.tokens, e.woken.Load())
	}
	for _, lent := range vault.lent {
		lent.Reveal(func(data []byte) {
			if strings.Trim(string(data), "\x00") != "" {
				t.Error("a token outlived its sync")
			}
		})
	}
	if a := e.get("/keyring"); !strings.Contains(a.text, `"vault":{"current_version":7}`) {
		t.Errorf("GET /keyring = %s", a.text)
	}

	// A deadline below must not pass for the end of the request.
	vault.err = fault.New(fault.Unavailable, "vault.Sync", "vault", errors.Join(errors.New("it is sealed"), context.DeadlineExceeded))
	tests := map[string]struct {
		err    error
		status int
		says   string
	}{
		"sealed":      {vault.err, 503, `"name":"vault unavailable"`},
		"a node":      {fault.Newf(fault.Unavailable, "keyring.Settled", "key/AAAAAAA1", "these nodes do not hold the key yet: cp-1"), 503, "cp-1"},
		"deleted":     {fault.Newf(fault.Conflict, "vault.Sync", "vault", "version 3 is deleted"), 409, "version 3 is deleted"},
		"no token":    {fault.Newf(fault.Invalid, "vault.Sync", "vault", "no token: it is empty"), 400, "no token"},
		"a surprise":  {errors.New("canary"), 500, "unexpected"},
		"the request": {context.Canceled, 503, "given up"},
	}
	for name, test := range tests {
		vault.err = test.err
		if a := e.post("/keyring/vault/sync", "token="+token); a.status != test.status || !strings.Contains(a.text, test.says) || strings.Contains(a.text, "canary") {
			t.Errorf("%s: %d %s, want %d %s", name, a.status, a.text, test.status, test.says)
		}
	}
	for _, body := range []string{"tokn=" + token, "token=%zz", "token"} {
		count := len(vault.tokens)
		a := e.post("/keyring/vault/sync", body)
		if body != "token" && (a.status != 400 || len(vault.tokens) != count) || strings.Contains(a.text, "canary") {
			t.Errorf("%s: %d %s", body, a.status, a.text)
		}
	}
}
