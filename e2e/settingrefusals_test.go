package e2e_test

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
	"github.com/keepgate/keepgate/shared/vaultclient/vaulttest"
)

// unfetched is a start that a reference stops.
type unfetched struct {
	setting string // what pg_password and encryption_key_kvm refer to
	flags   []string
	env     []string
	breaks  func(v *vaulttest.Server)
	at      string // where the fault is; "": at that setting
	says    string
	slow    bool // it takes all the time that there is: one look is enough
}

// Without what its settings refer to neither plane starts, and says which setting is at fault, where it stands and what to do, but
// no secret. Nothing is made.
func TestSettingsThatLeadNowhere(t *testing.T) {
	t.Parallel()
	const canary, password = "canary-of-a-secret-that-is-not-to-be-seen-91ac", "{vault://hcv/team/db/password}"
	c := harness.New(t)
	folder := filepath.Join(c.Folder, "secrets")
	writeFile(t, filepath.Join(c.Folder, "outside"), canary)
	writeFile(t, filepath.Join(folder, "team", "other"), canary)
	writeFile(t, filepath.Join(folder, "empty"), "\n")
	if err := os.Symlink("../outside", filepath.Join(folder, "link")); err != nil {
		t.Fatal(err)
	}
	tests := map[string]unfetched{
		"a sealed vault": {setting: password, breaks: func(v *vaulttest.Server) { v.Seal(true) }, says: "its vault hcv: the server is sealed"},
		"a dead vault":   {setting: password, breaks: (*vaulttest.Server).Down, says: "connect: connection refused; mend vault_hcv_host and vault_hcv_port, or start again once it answers"},
		"a vault that hangs": {
			setting: password, breaks: func(v *vaulttest.Server) { v.Fault(vaulttest.Fault{Hang: true}) },
			says: "start again once it answers", slow: true,
		},
		"a vault that nobody vouches for": {
			setting: password, flags: []string{"--ssl-trusted-certificate", "system"},
			says: "name its authority in ssl_trusted_certificate",
		},
		"no such secret": {setting: "{vault://hcv/team/nothing/password}", says: "mend the reference, vault_hcv_mount or vault_hcv_kv, or put the secret there"},
		"denied by policy": {
			setting: "{vault://hcv/other/db/password}", says: "mend vault_hcv_kv or vault_hcv_mount, if the secret lies elsewhere there, or let the policy of its token read it",
		},
		"a token that nobody made": {
			setting: password, flags: []string{"--vault-hcv-token-file", secretFile(t, "hvs.nobody")},
			says: "mend vault_hcv_token or vault_hcv_auth_method",
		},
		"no such member":    {setting: "{vault://hcv/team/db/user}", says: "what it refers to in vault hcv cannot be used: the secret has no such member; put the value there that belongs there, or mend the reference"},
		"no server":         {setting: password, flags: []string{"--vault-hcv-host", ""}, says: "vault_hcv_host is empty; set it to where HashiCorp Vault or OpenBao is"},
		"no variable":       {setting: "{vault://env/nothing}", says: "there is no such variable; mend the reference, or put the secret there"},
		"beside the prefix": {setting: "{vault://env/outside-of-it}", env: []string{"OUTSIDE_OF_IT=" + canary}, says: "there is no such variable"},
		"no prefix":         {setting: "{vault://env/password}", flags: []string{"--vault-env-prefix", ""}, says: "vault_env_prefix is empty, so that no variable can be referred to; set it"},
		"a variable that configures us": {
			setting: "{vault://env/gate-admin-token}", flags: []string{"--vault-env-prefix", "KEEP"}, env: []string{"KEEPGATE_ADMIN_TOKEN=" + canary},
			says: "no name of a variable that can be referred to",
		},
		"a prefix of what configures us": {
			setting: "{vault://env/admin-token}", flags: []string{"--vault-env-prefix", "KEEPGATE_"}, env: []string{"KEEPGATE_ADMIN_TOKEN=" + canary},
			at: "vault_env_prefix", says: `variables that begin with "KEEPGATE_" configure this program, and no reference leads to them: take another beginning, as GATE_`,
		},
		"a link out of it":   {setting: "{vault://file/link}", says: "the file cannot be opened: path escapes from parent"},
		"a path out of it":   {setting: "{vault://file/../outside}", says: "the secret of the reference has a segment that is no name; write {vault://"},
		"no file":            {setting: "{vault://file/nothing}", says: "there is no such file; mend the reference, or put the secret there"},
		"an empty file":      {setting: "{vault://file/empty}", says: "the file is empty"},
		"a folder":           {setting: "{vault://file/team/}", says: "it is a folder: a file of it has to be named; put the value there that belongs there, or mend the reference"},
		"no folder of files": {setting: "{vault://file/team/other}", flags: []string{"--vault-file-folder", ""}, says: "vault_file_folder is empty, so that no file can be referred to; set it"},
		"a map":              {setting: "{kvm://map/key}", says: "refers to a key-value map, which settings cannot; write {vault://<env, file or hcv>/<secret>/<member>}, or give the value in a file with"},
		"a vault entity":     {setting: "{vault://team-vault/db/password}", says: "it refers to a vault that this node does not have; settings know env, file and hcv; vaults of the configuration are for its entities"},
		"no reference":       {setting: "{vault://hcv}", says: "the reference names no secret: a slash and its name follow the vault or map; write {vault://"},
	}
	cert, key := c.Enrol("edge")
	for name, test := range tests {
		v := vaulttest.Start(t)
		v.Policy("team", `path "secret/data/team/*" { capabilities = ["read"] }`)
		own := v.Token(time.Hour, "team", "default")
		for _, path := range []string{"team/db", "other/db"} {
			v.Put(path, map[string]string{"password": canary})
		}
		flags := append(append(vaultSettings(t, v, own), "--vault-env-prefix", "GATE_", "--vault-file-folder", folder, "--ssl-trusted-certificate", v.CAFile), test.flags...)
		if test.breaks != nil {
			test.breaks(v)
		}
		within := filepath.Join(c.Folder, strings.ReplaceAll(name, " ", "-"))
		atCP := writeFile(t, within+"-cp.conf", "# of the control plane\npg_password = "+test.setting+"\n")
		atDP := writeFile(t, within+"-dp.conf", "# of the data plane\nencryption_key_kvm = "+test.setting+"\n")
		cp := c.ControlPlane(filepath.Base(within)+"-cp", append(flags, "--conf", atCP)...)
		dp := c.DataPlaneWith(filepath.Base(within)+"-dp", cp, append(flags, "--conf", atDP, "--cluster-cert", cert, "--cluster-cert-key", key, "--cluster-ca-cert", c.Cert("ca.crt"))...)
		cp.Env = append(test.env, "GATE_PASSWORD="+canary)
		dp.Env = cp.Env
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out said
			inCP, inDP := cmp.Or(test.at, atCP+":2: pg_password"), cmp.Or(test.at, atDP+":2: encryption_key_kvm")
			out.refuses(t, cp, "run", inCP, test.says)
			if !test.slow {
				out.refuses(t, dp, "run", inDP, test.says)
				out.refuses(t, cp, "check", inCP, test.says)
				out.refuses(t, dp, "check", inDP, test.says)
			}
			for _, prefix := range []string{cp.Prefix, dp.Prefix} {
				if _, err := os.Stat(prefix); !os.IsNotExist(err) {
					t.Errorf("something of it was made: %v", err)
				}
			}
			out.without(t, canary, own, v.Root)
		})
	}
}
