package vaulttest_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/vault/api"

	"github.com/keepgate/keepgate/shared/vaultclient/vaulttest"
)

// official is Vault's own client.
func official(t *testing.T, target vaulttest.Target, token string) *api.Client {
	t.Helper()
	config := api.DefaultConfig()
	config.Address, config.MaxRetries = target.Address, 0
	if err := config.ConfigureTLS(&api.TLSConfig{CACert: target.CAFile}); err != nil {
		t.Fatal(err)
	}
	client, err := api.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	client.SetToken(token)
	return client
}

// mounted makes a store that is the test's own.
func mounted(t *testing.T, client *api.Client) (mount string, kv *api.KVv2) {
	t.Helper()
	mount = "keepgate-" + uuid.NewString()
	if err := client.Sys().Mount(mount, &api.MountInput{Type: "kv", Options: map[string]string{"version": "2"}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Sys().Unmount(mount); err != nil {
			t.Error(err)
		}
	})
	kv = client.KVv2(mount)
	for range 100 { // a real server upgrades a new store first
		if _, err := kv.Put(t.Context(), "first", map[string]any{"a": "b"}); err == nil {
			return mount, kv
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("the new store takes nothing")
	return "", nil
}

func status(err error) int {
	if e, ok := errors.AsType[*api.ResponseError](err); ok {
		return e.StatusCode
	}
	return 0
}

func TestVersions(t *testing.T) {
	t.Parallel()
	vaulttest.Each(t, func(t *testing.T, target vaulttest.Target) {
		_, kv := mounted(t, official(t, target, target.Token))
		ctx := t.Context()
		for i, key := range []string{"one", "two", "three"} {
			made, err := kv.Put(ctx, "team/keys", map[string]any{"key": key, "n": 7}, api.WithCheckAndSet(i))
			if err != nil || made.VersionMetadata.Version != i+1 || made.VersionMetadata.CreatedTime.IsZero() {
				t.Fatalf("Put %d = %+v, %v", i, made, err)
			}
		}
		if _, err := kv.Put(ctx, "team/keys", map[string]any{"key": "x"}, api.WithCheckAndSet(1)); status(err) != 400 || !strings.Contains(err.Error(), "check-and-set") {
			t.Errorf("a Put over another version = %v", err)
		}
		wantVersions(t, kv, "team/keys", 3, nil, nil)
		if err := kv.DeleteVersions(ctx, "team/keys", []int{1, 3}); err != nil {
			t.Fatal(err)
		}
		if err := kv.Destroy(ctx, "team/keys", []int{2}); err != nil {
			t.Fatal(err)
		}
		wantVersions(t, kv, "team/keys", 3, []int{1, 3}, []int{2})
		for _, version := range []int{0, 1, 2, 3} {
			if got, err := kv.GetVersion(ctx, "team/keys", version); err == nil && got.Data != nil {
				t.Errorf("version %d is still there: %v", version, got.VersionMetadata)
			}
		}
		if err := kv.Undelete(ctx, "team/keys", []int{1, 2, 3}); err != nil {
			t.Fatal(err)
		}
		wantVersions(t, kv, "team/keys", 3, nil, []int{2})
		if got, err := kv.Get(ctx, "team/keys"); err != nil || got.Data["key"] != "three" || got.Data["n"] == nil {
			t.Errorf("Get after Undelete = %v, %v", got, err)
		}
		if err := kv.Delete(ctx, "team/keys"); err != nil {
			t.Fatal(err)
		}
		wantVersions(t, kv, "team/keys", 3, []int{3}, []int{2})
		if err := kv.DeleteMetadata(ctx, "team/keys"); err != nil {
			t.Fatal(err)
		}
		if _, err := kv.GetMetadata(ctx, "team/keys"); !errors.Is(err, api.ErrSecretNotFound) {
			t.Errorf("GetMetadata of what is gone = %v", err)
		}
		if _, err := kv.Get(ctx, "team/keys"); !errors.Is(err, api.ErrSecretNotFound) {
			t.Errorf("Get of what is gone = %v", err)
		}
	})
}

func wantVersions(t *testing.T, kv *api.KVv2, path string, current int, deleted, destroyed []int) {
	t.Helper()
	got, err := kv.GetMetadata(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	var isDeleted, isDestroyed []int
	for _, v := range got.Versions {
		if v.Destroyed {
			isDestroyed = append(isDestroyed, v.Version)
		} else if !v.DeletionTime.IsZero() {
			isDeleted = append(isDeleted, v.Version)
		}
	}
	slices.Sort(isDeleted)
	slices.Sort(isDestroyed)
	if got.CurrentVersion != current || !slices.Equal(isDeleted, deleted) || !slices.Equal(isDestroyed, destroyed) {
		t.Errorf("%s: current %d, deleted %v, destroyed %v; want %d, %v, %v", path, got.CurrentVersion, isDeleted, isDestroyed, current, deleted, destroyed)
	}
	list, err := kv.GetVersionsAsList(t.Context(), path)
	if err != nil || len(list) != len(got.Versions) {
		t.Errorf("GetVersionsAsList = %v, %v", list, err)
	}
}

func TestPatchRollbackAndLimits(t *testing.T) {
	t.Parallel()
	vaulttest.Each(t, func(t *testing.T, target vaulttest.Target) {
		mount, kv := mounted(t, official(t, target, target.Token))
		ctx := t.Context()
		if err := kv.PutMetadata(ctx, "keys", api.KVMetadataPutInput{MaxVersions: 2, CASRequired: true, CustomMetadata: map[string]any{"owner": "me"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := kv.Put(ctx, "keys", map[string]any{"id": "a"}); status(err) != 400 {
			t.Errorf("a Put without check-and-set = %v", err)
		}
		if _, err := kv.Put(ctx, "keys", map[string]any{"id": "a", "key": "b"}, api.WithCheckAndSet(0)); err != nil {
			t.Fatal(err)
		}
		got, err := kv.Patch(ctx, "keys", map[string]any{"key": "c"}, api.WithCheckAndSet(1))
		if err != nil || got.VersionMetadata.Version != 2 {
			t.Fatalf("Patch = %v, %v", got, err)
		}
		if got, err := kv.Get(ctx, "keys"); err != nil || got.Data["id"] != "a" || got.Data["key"] != "c" || got.CustomMetadata["owner"] != "me" {
			t.Errorf("after Patch: %v, %v", got, err)
		}
		if got, err := kv.Rollback(ctx, "keys", 1); err != nil || got.VersionMetadata.Version != 3 {
			t.Errorf("Rollback = %v, %v", got, err)
		}
		meta, err := kv.GetMetadata(ctx, "keys")
		if err != nil || len(meta.Versions) != 2 || meta.OldestVersion != 2 || meta.MaxVersions != 2 {
			t.Errorf("of three versions two are kept: %+v, %v", meta, err)
		}
		list, err := official(t, target, target.Token).Logical().ListWithContext(ctx, mount+"/metadata/")
		if err != nil || list == nil || len(list.Data["keys"].([]any)) != 2 {
			t.Errorf("List = %v, %v", list, err)
		}
		if list, err := official(t, target, target.Token).Logical().ListWithContext(ctx, mount+"/metadata/nothing"); err != nil || list != nil {
			t.Errorf("List of nothing = %v, %v", list, err)
		}
	})
}

func TestVersionsThatAreDeletedLater(t *testing.T) {
	t.Parallel()
	vaulttest.Each(t, func(t *testing.T, target vaulttest.Target) {
		_, kv := mounted(t, official(t, target, target.Token))
		if err := kv.PutMetadata(t.Context(), "keys", api.KVMetadataPutInput{DeleteVersionAfter: time.Hour}); err != nil {
			t.Fatal(err)
		}
		made, err := kv.Put(t.Context(), "keys", map[string]any{"id": "a"})
		if err != nil || made.VersionMetadata.DeletionTime.Before(time.Now().Add(30*time.Minute)) {
			t.Fatalf("Put = %+v, %v", made, err)
		}
		if got, err := kv.Get(t.Context(), "keys"); err != nil || got.Data["id"] != "a" {
			t.Errorf("Get = %v, %v", got, err)
		}
		if target.Server == nil {
			return
		}
		target.Server.Advance(2 * time.Hour)
		if got, err := kv.Get(t.Context(), "keys"); err == nil && got.Data != nil {
			t.Error("a version outlived its time")
		}
	})
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	vaulttest.Each(t, func(t *testing.T, target vaulttest.Target) {
		root := official(t, target, target.Token)
		mount, kv := mounted(t, root)
		ctx := t.Context()
		if _, err := kv.Put(ctx, "keys", map[string]any{"id": "a"}); err != nil {
			t.Fatal(err)
		}
		if _, err := kv.Put(ctx, "other/secret", map[string]any{"id": "a"}); err != nil {
			t.Fatal(err)
		}
		policy := mount + "-reads"
		text := `# what a control plane needs
path "` + mount + `/data/keys" { capabilities = ["read"] }
path "` + mount + `/metadata/*" { capabilities = ["read", "list"] }
path "` + mount + `/metadata/other/+" { capabilities = ["deny"] }`
		if err := root.Sys().PutPolicy(policy, text); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = root.Sys().DeletePolicy(policy) })
		made, err := root.Auth().Token().CreateWithContext(ctx, &api.TokenCreateRequest{Policies: []string{policy}, TTL: "1h"})
		if err != nil {
			t.Fatal(err)
		}
		reader := official(t, target, made.Auth.ClientToken)
		mine := reader.KVv2(mount)
		tests := map[string]struct {
			do      func() error
			allowed bool
		}{
			"read":                 {func() error { _, err := mine.Get(ctx, "keys"); return err }, true},
			"metadata":             {func() error { _, err := mine.GetMetadata(ctx, "keys"); return err }, true},
			"list":                 {func() error { _, err := reader.Logical().ListWithContext(ctx, mount+"/metadata/"); return err }, true},
			"lookup":               {func() error { _, err := reader.Auth().Token().LookupSelfWithContext(ctx); return err }, true},
			"another secret":       {func() error { _, err := mine.Get(ctx, "other/secret"); return err }, false},
			"what is denied":       {func() error { _, err := mine.GetMetadata(ctx, "other/secret"); return err }, false},
			"write":                {func() error { _, err := mine.Put(ctx, "keys", map[string]any{}); return err }, false},
			"patch":                {func() error { _, err := mine.Patch(ctx, "keys", map[string]any{"a": "b"}); return err }, false},
			"delete":               {func() error { return mine.Delete(ctx, "keys") }, false},
			"destroy":              {func() error { return mine.Destroy(ctx, "keys", []int{1}) }, false},
			"delete of everything": {func() error { return mine.DeleteMetadata(ctx, "keys") }, false},
			"mount":                {func() error { return reader.Sys().Mount("x-"+mount, &api.MountInput{Type: "kv-v2"}) }, false},
		}
		for name, test := range tests {
			if err := test.do(); (err == nil) != test.allowed || (err != nil && status(errors.Unwrap(err)) != 403 && status(err) != 403) {
				t.Errorf("%s = %v, want allowed %t", name, err, test.allowed)
			}
		}
		if _, err := official(t, target, "hvs.nobody").KVv2(mount).Get(ctx, "keys"); err == nil {
			t.Error("a token that nobody made reads")
		}
	})
}

func TestTokensLive(t *testing.T) {
	t.Parallel()
	vaulttest.Each(t, func(t *testing.T, target vaulttest.Target) {
		ctx := t.Context()
		root := official(t, target, target.Token)
		made, err := root.Auth().Token().CreateWithContext(ctx, &api.TokenCreateRequest{TTL: "1m"})
		if err != nil || made.Auth.LeaseDuration != 60 || !made.Auth.Renewable {
			t.Fatalf("Create = %+v, %v", made, err)
		}
		client := official(t, target, made.Auth.ClientToken)
		tokens := client.Auth().Token()
		looked, err := tokens.LookupSelfWithContext(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if ttl, err := looked.TokenTTL(); err != nil || ttl > time.Minute || ttl < 10*time.Second {
			t.Errorf("TTL = %v, %v", ttl, err)
		}
		if target.Server != nil {
			target.Server.Advance(50 * time.Second)
		}
		if renewed, err := tokens.RenewSelfWithContext(ctx, 0); err != nil || renewed.Auth.LeaseDuration != 60 {
			t.Errorf("Renew = %+v, %v", renewed, err)
		}
		if target.Server != nil {
			target.Server.Advance(50 * time.Second)
			if _, err := tokens.LookupSelfWithContext(ctx); err != nil {
				t.Errorf("a renewed token = %v", err)
			}
			target.Server.Advance(11 * time.Second)
			if _, err := tokens.LookupSelfWithContext(ctx); status(err) != http.StatusForbidden {
				t.Errorf("a token whose time is over = %v", err)
			}
			return
		}
		if err := tokens.RevokeSelfWithContext(ctx, ""); err != nil {
			t.Error(err)
		}
		if _, err := tokens.LookupSelfWithContext(ctx); status(err) != http.StatusForbidden {
			t.Errorf("a revoked token = %v", err)
		}
	})
}

func TestKubernetesLogin(t *testing.T) {
	t.Parallel()
	s := vaulttest.Start(t)
	target := vaulttest.Target{Address: s.URL, Token: s.Root, CAFile: s.CAFile}
	s.Role("keepgate", "a.b.c", time.Minute, "reads")
	client := official(t, target, "")
	for name, test := range map[string]struct {
		role, jwt string
		status    int
	}{
		"good": {"keepgate", "a.b.c", 0}, "another account": {"keepgate", "a.b.d", 403}, "another role": {"x", "a.b.c", 400}, "no token": {"keepgate", "", 400},
	} {
		got, err := client.Logical().WriteWithContext(t.Context(), "auth/kubernetes/login", map[string]any{"role": test.role, "jwt": test.jwt})
		if status(err) != test.status || (test.status == 0 && (err != nil || got.Auth.ClientToken == "" || !slices.Contains(got.Auth.Policies, "reads"))) {
			t.Errorf("%s = %v, %v", name, got, err)
		}
	}
}

func TestSealsStandbysAndFaults(t *testing.T) {
	t.Parallel()
	s, active := vaulttest.Start(t), vaulttest.Start(t)
	target := vaulttest.Target{Address: s.URL, Token: s.Root, CAFile: s.CAFile}
	client := official(t, target, s.Root)
	read := func() int {
		_, err := client.KVv2("secret").Get(context.Background(), "x")
		return status(errors.Unwrap(err))
	}
	wantHealth := func(sealed, standby, performance bool) {
		t.Helper()
		if got, err := client.Sys().Health(); err != nil || got.Sealed != sealed || got.Standby != standby || got.PerformanceStandby != performance {
			t.Errorf("Health = %+v, %v", got, err)
		}
	}
	wantHealth(false, false, false)
	if err := client.Sys().Seal(); err != nil {
		t.Fatal(err)
	}
	wantHealth(true, false, false)
	if got, err := client.Sys().SealStatus(); err != nil || !got.Sealed || read() != 503 {
		t.Errorf("SealStatus = %+v, %v", got, err)
	}
	s.Seal(false)
	s.Performance(true)
	wantHealth(false, false, true)
	s.Performance(false)
	s.Standby(active.URL)
	wantHealth(false, true, false)
	s.Standby("")
	s.Fault(vaulttest.Fault{Status: 429, RetryAfter: 1, Times: 1})
	if got := read(); got != 429 {
		t.Errorf("status %d, want 429", got)
	}
	s.Fault(vaulttest.Fault{Cut: true, Times: 1})
	if got := read(); got != 0 {
		t.Errorf("status %d, want a broken connection", got)
	}
	if _, err := client.KVv2("secret").Get(t.Context(), "x"); !errors.Is(err, api.ErrSecretNotFound) {
		t.Errorf("after all faults: %v", err)
	}
}
