package vaults_test

import (
	"context"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/settings/values"
	"github.com/keepgate/keepgate/shared/settings/vaults"
	"github.com/keepgate/keepgate/shared/vaultclient/vaulttest"
)

func TestFetch(t *testing.T) {
	t.Parallel()
	const one, two, key = "pg_password", "pg_ro_password", "keyring_private_key"
	tests := map[string]struct {
		change func(w *world)
		given  map[string]string
		want   map[string]string
		reads  []string
		tokens int // that are left; one is the node's own
	}{
		"nothing": {given: map[string]string{one: "plain"}, want: map[string]string{one: "plain"}, tokens: 1},
		"a variable": {
			given: map[string]string{one: "{vault://env/db}", two: "{vault://env/json/password}"}, want: map[string]string{one: "canary-of-env", two: "canary-of-json"}, tokens: 1,
		},
		"a number": {given: map[string]string{one: "{vault://env/json/n}"}, want: map[string]string{one: "7"}, tokens: 1},
		"a file": {
			given: map[string]string{one: "{vault://file/db}", two: "{vault://file/json/password}"}, want: map[string]string{one: "canary-of-file", two: "canary-of-json"}, tokens: 1,
		},
		"a folder": {given: map[string]string{one: "{vault://file/mount/password}"}, want: map[string]string{one: "canary-of-mount"}, tokens: 1},
		"version 1 of the store": {
			change: func(w *world) { w.lines["vault_hcv_kv"], w.lines["vault_hcv_mount"] = "v1", "kv" },
			given:  map[string]string{one: "{vault://hcv/team/db/password}"}, want: map[string]string{one: "canary-of-v1"}, reads: []string{"root kv/team/db"}, tokens: 1,
		},
		"several members of one secret": {
			given: map[string]string{one: "{vault://hcv/team/db/password}", two: "{vault://hcv/team/db/reader}", key: "{vault://hcv/team/db/key}"},
			want:  map[string]string{one: "canary-new", two: "canary-reader", key: pem}, reads: []string{"root secret/data/team/db"}, tokens: 1,
		},
		"one member twice": {
			given: map[string]string{one: "{vault://hcv/team/db/password}", two: "{vault://hcv/team/db/password}"},
			want:  map[string]string{one: "canary-new", two: "canary-new"}, reads: []string{"root secret/data/team/db"}, tokens: 1,
		},
		"two versions": {
			given: map[string]string{one: "{vault://hcv/team/db/password#1}", two: "{vault://hcv/team/db/password#2}"},
			want:  map[string]string{one: "canary-old", two: "canary-new"}, reads: []string{"root secret/data/team/db", "root secret/data/team/db"}, tokens: 1,
		},
		"a namespace": {
			change: func(w *world) { w.lines["vault_hcv_namespace"] = "team/a" },
			given:  map[string]string{one: "{vault://hcv/team/db/password}"}, want: map[string]string{one: "canary-new"}, reads: []string{"team/a secret/data/team/db"}, tokens: 1,
		},
		"all three": {
			given: map[string]string{one: "{vault://hcv/team/db/password}", two: "{vault://env/db}", key: "{vault://file/key.pem}"}, change: func(w *world) { w.write("key.pem", pem+"\n") },
			want: map[string]string{one: "canary-new", two: "canary-of-env", key: pem}, reads: []string{"root secret/data/team/db"}, tokens: 1,
		},
		"Kubernetes": { // its login ends: the one token that is left is that of newWorld
			change: (*world).kubernetes, given: map[string]string{one: "{vault://hcv/team/db/password}", two: "{vault://hcv/team/db/reader}"},
			want: map[string]string{one: "canary-new", two: "canary-reader"}, reads: []string{"root secret/data/team/db"}, tokens: 1,
		},
		"a server that is slow to begin": {
			change: func(w *world) { w.server.Fault(vaulttest.Fault{Path: "secret/", Times: 1, Status: 429}) },
			given:  map[string]string{one: "{vault://hcv/team/db/password}"}, want: map[string]string{one: "canary-new"}, reads: []string{"root secret/data/team/db", "root secret/data/team/db"}, tokens: 1,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if test.change != nil {
				test.change(w)
			}
			into, err := w.fetch(test.given)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for name, value := range map[string]string{one: reveal(into.One), two: reveal(into.Two), key: reveal(into.Key)} {
				if value != "" {
					got[name] = value
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("values (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.reads, w.reads()); diff != "" {
				t.Errorf("reads (-want +got):\n%s", diff)
			}
			if n := w.server.Tokens(); n != test.tokens {
				t.Errorf("%d tokens are left", n)
			}
			if (into.Next != nil) != strings.HasPrefix(test.given[one], "{vault://") {
				t.Error("what gives the next values is there without a reference, or not there with one")
			}
		})
	}
}

// Each failure is told with the setting, its vault and what mends it, and leaves every setting without a value.
func TestFetchRefuses(t *testing.T) {
	t.Parallel()
	const db = "{vault://hcv/team/db/password}"
	const seen = "--pg-password: pg_password: "
	tests := map[string]struct {
		change func(w *world)
		to     string
		want   string
	}{
		"sealed":               {func(w *world) { w.server.Seal(true) }, db, "its vault hcv: the server is sealed: unseal it; start again once it answers"},
		"down":                 {func(w *world) { w.server.Down() }, db, "connection refused; mend vault_hcv_host and vault_hcv_port, or start again once it answers there"},
		"a host of no address": {func(w *world) { w.lines["vault_hcv_host"] = "vault.invalid" }, db, "; mend vault_hcv_host and vault_hcv_port, or start again once it answers there"},
		"an unknown authority": {
			func(w *world) { w.roots = func() (*x509.CertPool, error) { return x509.NewCertPool(), nil } }, db,
			"; name its authority in ssl_trusted_certificate, and the name of its certificate in vault_hcv_host",
		},
		"an unreadable authority": {func(w *world) {
			w.roots = func() (*x509.CertPool, error) {
				return nil, fault.Newf(fault.Invalid, "settings.Roots", "ssl_trusted_certificate", "/ca.pem holds no PEM certificate")
			}
		}, db, "ssl_trusted_certificate: /ca.pem holds no PEM certificate; mend ssl_trusted_certificate"},
		"in clear":         {func(w *world) { w.lines["vault_hcv_protocol"], w.lines["vault_hcv_host"] = "http", "vault.example" }, db, "would send the token and the keys over the network in clear"},
		"denied":           {nil, "{vault://hcv/other/db/password}", "its vault hcv: the server denies it: the token is wrong or expired, or its policy does not allow it; mend vault_hcv_kv or vault_hcv_mount, if the secret lies elsewhere there, or let the policy of its token read it"},
		"a dead token":     {func(w *world) { w.server.Advance(2 * time.Hour) }, db, "its vault hcv: the server does not know the token, it has expired, or its policies allow neither this nor looking itself up; mend vault_hcv_token or vault_hcv_auth_method"},
		"no token":         {func(w *world) { delete(w.lines, "vault_hcv_token") }, db, "vault_hcv_token is not set; set vault_hcv_token_file, or vault_hcv_auth_method = kubernetes"},
		"what is no token": {func(w *world) { w.lines["vault_hcv_token"] = "canary token" }, db, "no token: it is empty, too long, or has signs that no token has; mend vault_hcv_token or vault_hcv_auth_method"},
		"no service account": {
			func(w *world) { w.kubernetes(); w.lines["vault_hcv_kube_api_token_file"] = "/no/token" }, db,
			"the service account's token /no/token: no such file or directory; mend vault_hcv_kube_role, vault_hcv_kube_auth_path or vault_hcv_kube_api_token_file, or the role there",
		},
		"an unknown role":             {func(w *world) { w.kubernetes(); w.lines["vault_hcv_kube_role"] = "nobody" }, db, "its vault hcv: the server refuses the login with 400; mend vault_hcv_kube_role, vault_hcv_kube_auth_path"},
		"a wrong auth path":           {func(w *world) { w.kubernetes(); w.lines["vault_hcv_kube_auth_path"] = "a/../b" }, db, `vault_hcv_kube_auth_path: "a/../b" is no mount or path of Vault: write it as team/keys; name the mount of the auth method`},
		"a wrong mount":               {func(w *world) { w.lines["vault_hcv_mount"] = "a/../b" }, db, `vault_hcv_mount: "a/../b" is no mount or path of Vault: write it as team/keys; name the mount of the key-value store`},
		"another mount":               {func(w *world) { w.lines["vault_hcv_mount"], w.lines["vault_hcv_token"] = "none", w.server.Root }, db, "its vault hcv: there is nothing by that name; mend the reference, vault_hcv_mount or vault_hcv_kv, or put the secret there"},
		"a wrong namespace":           {func(w *world) { w.lines["vault_hcv_namespace"] = "a b" }, db, "no namespace: write it as team/project; mend vault_hcv_host and vault_hcv_namespace"},
		"no host":                     {func(w *world) { delete(w.lines, "vault_hcv_host") }, db, "vault_hcv_host is empty; set it to where HashiCorp Vault or OpenBao is"},
		"a URL as the host":           {func(w *world) { w.lines["vault_hcv_host"] = "https://vault.example" }, db, "it is no host alone, as vault.example.com"},
		"not found":                   {nil, "{vault://hcv/team/none/password}", "its vault hcv: there is nothing by that name; mend the reference, vault_hcv_mount or vault_hcv_kv, or put the secret there"},
		"a version that is not there": {nil, "{vault://hcv/team/db/password#9}", "its vault hcv: there is nothing by that name; mend the reference"},
		"a deleted version":           {func(w *world) { w.server.Delete("team/db", 1) }, "{vault://hcv/team/db/password#1}", "its vault hcv: there is nothing by that name; mend the reference"},
		"a version of version 1": {
			func(w *world) { w.lines["vault_hcv_kv"], w.lines["vault_hcv_mount"] = "v1", "kv" }, "{vault://hcv/team/db/password#1}",
			"its vault hcv: version 1 of the key-value store numbers no versions; mend the reference, vault_hcv_mount or vault_hcv_kv",
		},
		"what Vault does not say": {
			func(w *world) {
				w.server.Fault(vaulttest.Fault{Path: "secret/", Status: 200, Body: `{"data":"canary"}`})
			}, db,
			"version 2?; mend vault_hcv_host, vault_hcv_mount or vault_hcv_kv",
		},
		"words of the server's": {
			func(w *world) {
				w.server.Fault(vaulttest.Fault{Path: "secret/", Status: 400, Body: `{"errors":["canary"]}`})
			}, db,
			"its vault hcv: the server answers 400; mend the reference, vault_hcv_mount or vault_hcv_kv",
		},
		"no member":                {nil, "{vault://hcv/team/db/none}", "what it refers to in vault hcv cannot be used: the secret has no such member; put the value there that belongs there, or mend the reference"},
		"the whole secret":         {nil, "{vault://hcv/team/db/}", "what it refers to in vault hcv cannot be used: a member of the secret has to be named; put the value"},
		"empty":                    {nil, "{vault://hcv/team/db/empty}", "what it refers to in vault hcv cannot be used: it is empty; put the value"},
		"an empty variable":        {nil, "{vault://env/empty}", "what it refers to in vault env cannot be used: it is empty; put the value"},
		"no variable":              {nil, "{vault://env/none}", "its vault env: there is no such variable; mend the reference, or put the secret there"},
		"no prefix":                {func(w *world) { delete(w.lines, "vault_env_prefix") }, "{vault://env/db}", "vault_env_prefix is empty, so that no variable can be referred to; set it to what the names of such variables begin with, as GATE_"},
		"this program's variables": {func(w *world) { w.lines["vault_env_prefix"] = "KEEPGATE_" }, "{vault://env/pg-canary}", `variables that begin with "KEEPGATE_" configure this program`},
		"half of their prefix":     {func(w *world) { w.lines["vault_env_prefix"] = "KEEPGATE" }, "{vault://env/-pg-canary}", "no name of a variable that can be referred to; mend the reference"},
		"no file":                  {nil, "{vault://file/none}", "its vault file: there is no such file; mend the reference, or put the secret there"},
		"an empty file":            {func(w *world) { w.write("empty", "") }, "{vault://file/empty}", "its vault file: the file is empty; mend the reference, or put the secret there"},
		"no folder":                {func(w *world) { delete(w.lines, "vault_file_folder") }, "{vault://file/db}", "vault_file_folder is empty, so that no file can be referred to; set it to the folder of such files"},
		"a folder that is not there": {
			func(w *world) { w.lines["vault_file_folder"] = "/no/folder" }, "{vault://file/db}",
			"its vault file: the folder of vault_file_folder cannot be opened: no such file or directory; mend vault_file_folder, or let this user read what lies there",
		},
		"an unknown vault": {nil, "{vault://my-vault/db/password}", "it refers to a vault that this node does not have; settings know env, file and hcv; vaults of the configuration are for its entities"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if test.change != nil {
				test.change(w)
			}
			before := w.server.Tokens()
			into, err := w.fetch(map[string]string{"pg_password": test.to, "pg_ro_password": "{vault://file/db}", "keyring_private_key": "{vault://env/db}"})
			if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "canary") {
				t.Fatalf("Fetch = %v, want %q", err, test.want)
			}
			checked := strings.Contains(err.Error(), "vaults.Check")
			if !checked && (!strings.Contains(err.Error(), "\n  "+seen) || !strings.Contains(err.Error(), "--keyring-private-key: keyring_private_key: ")) {
				t.Errorf("Fetch = %v, want a line for each", err)
			}
			if into.One.Len()+into.Two.Len()+into.Key.Len() != 0 || into.Next != nil {
				t.Error("some got their values")
			}
			if n := w.server.Tokens(); n > before {
				t.Errorf("%d tokens are left of %d", n, before)
			}
		})
	}
}

// A standby points to the active node: to another port of the host that is asked, or to another host that vault_hosts names.
func TestFetchFollowsAStandby(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		hosts, host string // vault_hosts, and where the standby points
		refused     string
	}{
		"the same host":       {host: "127.0.0.1"},
		"another, listed":     {host: "localhost", hosts: "vault.example, localhost"},
		"another, with a dot": {host: "localhost", hosts: "LOCALHOST."},
		"another": {host: "localhost", hosts: "vault.example", refused: "its vault hcv: the server points to a host that is not to be asked: give the address of the active node; " +
			"name the active node in vault_hcv_host, or let vault_hosts name the host that it points to"},
		"another, and no list": {host: "localhost"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			standby, active := newWorld(t), newWorld(t)
			standby.server.Standby(strings.Replace(active.server.URL, "127.0.0.1", test.host, 1))
			standby.lines["vault_hcv_token"], standby.lines["vault_hosts"] = active.lines["vault_hcv_token"], test.hosts
			standby.roots = func() (*x509.CertPool, error) {
				return values.Roots("ssl_trusted_certificate", []string{standby.server.CAFile, active.server.CAFile})
			}
			into, err := standby.fetch(map[string]string{"pg_password": "{vault://hcv/team/db/password}"})
			if test.refused == "" && (err != nil || reveal(into.One) != "canary-new") || test.refused != "" && (err == nil || !strings.Contains(err.Error(), test.refused)) {
				t.Errorf("Fetch = %v, want %q", err, test.refused)
			}
			for _, r := range active.server.Requests() {
				if test.refused != "" {
					t.Errorf("the other host was asked for %s", r.Path)
				}
			}
		})
	}
}

// A server that says nothing holds nobody up for longer than the start has time, and is asked once for all.
func TestFetchGivesUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.server.Fault(vaulttest.Fault{Hang: true})
	into, loaded := w.load(map[string]string{"pg_password": "{vault://hcv/team/db/password}", "pg_ro_password": "{vault://hcv/team/db/reader}"})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := into.Vaults.Fetch(ctx, loaded, w.roots)
	if fault.KindOf(err) != fault.Invalid || strings.Count(err.Error(), "gave no answer in time; start again once it answers") != 2 {
		t.Errorf("Fetch = %v", err)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for host, fine := range map[string]bool{
		"": true, "vault.example": true, "10.0.0.1": true, "::1": true, "[::1]": true, "https://vault.example": false, "vault.example/v1": false,
		"user@vault.example": false, "vault.example?a": false, "vault.example#a": false, "a b": false,
	} {
		if err := (vaults.Settings{Host: host}).Check(); (err == nil) != fine || err != nil && (fault.KindOf(err) != fault.Invalid || fault.SubjectOf(err) != "vault_hcv_host") {
			t.Errorf("Check of host %q = %v", host, err)
		}
	}
	for prefix, fine := range map[string]bool{"": true, "GATE_": true, "KEEPGATE": true, "KEEPGATE_": false, "KEEPGATE_PG": false, "KONG_": false, "KONG_X_": false} {
		if err := (vaults.Settings{EnvPrefix: prefix}).Check(); (err == nil) != fine || err != nil && (fault.KindOf(err) != fault.Invalid || fault.SubjectOf(err) != "vault_env_prefix") {
			t.Errorf("Check of prefix %q = %v", prefix, err)
		}
	}
}
