package secrets

import (
	"net/netip"
	"strings"
	"testing"

	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/secret"
)

func node(hosts ...string) Options {
	return Options{
		EnvPrefix: "GATE_", Folder: "/secrets", Hosts: hosts,
		HCV: HCV{Protocol: "https", Host: "vault.test", Port: 8200, Mount: "secret", KV: "v1", Token: secret.Take([]byte("node's")), KubeRole: "gate", KubeAuthPath: "kubernetes"},
	}
}

// Whoever configures a workspace gets no further by a vault entity than by what belongs to the workspace.
func TestNoConfusedDeputy(t *testing.T) {
	t.Parallel()
	const alone = "workspace default alone"
	hcv := func(change func(c *configv1.VaultConfig)) *configv1.Vault {
		c := &configv1.VaultConfig{}
		change(c)
		return &configv1.Vault{Name: new(kindHCV), Config: c}
	}
	own := func(c *configv1.VaultConfig) { c.Token = new("theirs") }
	elsewhere := func(c *configv1.VaultConfig) { c.Host = new("other.test") }
	tests := map[string]struct {
		workspace string
		vault     *configv1.Vault
		hosts     []string
		fault     string
		trusted   bool
	}{
		"variables":                           {home, &configv1.Vault{Name: new(kindEnv)}, nil, "", false},
		"another workspace's variables":       {"w", &configv1.Vault{Name: new(kindEnv)}, nil, alone, false},
		"another workspace's variables, long": {"w", &configv1.Vault{Name: new(kindEnv), Config: &configv1.VaultConfig{Prefix: new("X_")}}, nil, alone, false},
		"files":                               {home, &configv1.Vault{Name: new(kindFile)}, nil, "", false},
		"another workspace's files":           {"w", &configv1.Vault{Name: new(kindFile)}, nil, "", false},
		"files above":                         {"w", &configv1.Vault{Name: new(kindFile), Config: &configv1.VaultConfig{Prefix: new("../v")}}, nil, "no folder", false},
		"files far above":                     {"w", &configv1.Vault{Name: new(kindFile), Config: &configv1.VaultConfig{Prefix: new("a/../../v")}}, nil, "no folder", false},
		"the node's server":                   {home, hcv(func(*configv1.VaultConfig) {}), nil, "", true},
		"the node's server by name":           {home, hcv(func(c *configv1.VaultConfig) { c.Host = new("VAULT.test") }), nil, "", true},
		"the node's server, another port":     {home, hcv(func(c *configv1.VaultConfig) { c.Port = new(int64(9999)) }), nil, "logs in to the server of vault_hcv_host alone", false},
		"the node's server in clear":          {home, hcv(func(c *configv1.VaultConfig) { c.Protocol = new("http") }), nil, "logs in to the server of vault_hcv_host alone", false},
		"the node's token elsewhere":          {home, hcv(elsewhere), nil, "logs in to the server of vault_hcv_host alone", false},
		"the node's token where it is listed": {home, hcv(elsewhere), []string{"other.test"}, "logs in to the server of vault_hcv_host alone", true},
		"the service account elsewhere": {home, hcv(func(c *configv1.VaultConfig) {
			elsewhere(c)
			own(c)
			c.AuthMethod = new("kubernetes")
		}), nil, "logs in to the server of vault_hcv_host alone", false},
		"the service account":                      {home, hcv(func(c *configv1.VaultConfig) { c.AuthMethod, c.KubeRole = new("kubernetes"), new("r") }), nil, "", true},
		"another workspace's service account":      {"w", hcv(func(c *configv1.VaultConfig) { c.AuthMethod = new("kubernetes") }), nil, alone, true},
		"another workspace by the node's token":    {"w", hcv(func(*configv1.VaultConfig) {}), nil, alone, true},
		"another workspace by its own token":       {"w", hcv(own), nil, "", true},
		"elsewhere by its own token":               {"w", hcv(func(c *configv1.VaultConfig) { own(c); elsewhere(c) }), nil, "", false},
		"elsewhere where hosts are listed":         {"w", hcv(func(c *configv1.VaultConfig) { own(c); elsewhere(c) }), []string{"a.test"}, "not in vault_hosts", false},
		"elsewhere where it is listed":             {"w", hcv(func(c *configv1.VaultConfig) { own(c); elsewhere(c) }), []string{"*.test"}, "", true},
		"the node's server where hosts are listed": {"w", hcv(own), []string{"a.test"}, "", true},
		"a token from a map":                       {"w", hcv(func(c *configv1.VaultConfig) { c.Token = new("{kvm://m/k}") }), nil, "reference to a map", true},
		"a token that is no reference":             {"w", hcv(func(c *configv1.VaultConfig) { c.Token = new("{vault://env/k") }), nil, "does not end", true},
		"a path out of the store":                  {home, hcv(func(c *configv1.VaultConfig) { c.Mount = new("a/../b") }), nil, "config.mount: \"a/../b\" is no mount", true},
		"what is no variable":                      {home, &configv1.Vault{Name: new(kindEnv), Config: &configv1.VaultConfig{Prefix: new("a=b")}}, nil, "config.prefix: no beginning", false},
		"an unknown kind":                          {home, &configv1.Vault{Name: new("aws")}, nil, "does not know its kind", true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := node(test.hosts...).of(test.workspace, test.vault)
			if test.fault == "" && got.fault != "" || !strings.Contains(got.fault, test.fault) {
				t.Errorf("fault %q, want %q", got.fault, test.fault)
			}
			if test.vault.GetName() == kindHCV && got.trusted != test.trusted {
				t.Errorf("trusted %v", got.trusted)
			}
		})
	}
	for _, kind := range []string{kindEnv, kindFile, kindHCV} {
		if s := (Options{}).own(kind); s.fault == "" {
			t.Errorf("%s of a node that configures none can be referred to", kind)
		}
	}
}

// Vaults of other workspaces are not there, and neither are the node's own for anybody but the workspace default.
func TestVaultsBelongToWorkspaces(t *testing.T) {
	t.Parallel()
	s := New(Options{EnvPrefix: "GATE_", Environ: func(name string) (string, bool) { return "of " + name, true }})
	s.Begin(func(yield func(string, *configv1.Vault) bool) {
		_ = yield(home, &configv1.Vault{Name: new(kindEnv), Prefix: new("mine"), Config: &configv1.VaultConfig{Prefix: new("my-")}}) &&
			yield("w", &configv1.Vault{Name: new(kindEnv), Prefix: new("theirs")}) &&
			yield(home, &configv1.Vault{Name: new(kindEnv), Prefix: new("env"), Config: &configv1.VaultConfig{Prefix: new("never-")}})
	})
	ask := func(workspace, text string) string {
		value, err := s.Resolve(workspace, parsed(t, text))
		if err != nil {
			return "!" + err.Error()
		}
		return value
	}
	for _, text := range []string{"{vault://env/a-b}", "{vault://mine/a-b}"} {
		ask(home, text)
	}
	if !s.Settle() {
		t.Fatal("nothing was heard")
	}
	for _, test := range [][3]string{
		{home, "{vault://env/a-b}", "of GATE_A_B"},
		{home, "{vault://mine/a-b}", "of GATE_MY_A_B"},
		{"w", "{vault://env/a-b}", `!vault "env" of this node can be referred to in the workspace default alone`},
		{"w", "{vault://mine/a-b}", `!there is no vault "mine" in the workspace`},
		{"w", "{vault://theirs/a-b}", `!vault "theirs": variables of this node can be referred to in the workspace default alone`},
		{home, "{vault://theirs/a-b}", `!there is no vault "theirs" in the workspace`},
		{"", "{vault://env/a-b}", `!vault "env" of this node can be referred to in the workspace default alone`},
	} {
		if got := ask(test[0], test[1]); got != test[2] {
			t.Errorf("%s in %q leads to %q, want %q", test[1], test[0], got, test[2])
		}
	}
	s.End()
	list := s.Status()
	if len(list) != 3 || list[2].Workspace != "w" || list[2].Unresolved != 1 || list[2].Fault == "" || list[0].References != 1 {
		t.Errorf("status %+v", list)
	}
}

func TestFar(t *testing.T) {
	t.Parallel()
	for _, near := range []string{
		"127.0.0.1", "127.8.8.8", "::1", "0.0.0.0", "0.1.2.3", "::", "169.254.169.254", "169.254.0.1", "fe80::1", "224.0.0.1", "ff02::1", "255.255.255.255",
		"fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:7f00:1::1",
	} {
		if far(netip.MustParseAddr(near)) == nil {
			t.Errorf("%s may be connected to", near)
		}
	}
	for _, away := range []string{"10.0.0.7", "192.168.1.1", "172.16.0.1", "8.8.8.8", "2001:db8::1", "fd00::1", "64:ff9b::808:808"} {
		if err := far(netip.MustParseAddr(away)); err != nil {
			t.Errorf("%s: %v", away, err)
		}
	}
}

func TestListed(t *testing.T) {
	t.Parallel()
	o := Options{Hosts: []string{"Vault.test", "*.vaults.test", "10.0.0.1"}}
	for host, want := range map[string]bool{
		"vault.test": true, "VAULT.TEST.": true, "a.vaults.test": true, "a.b.vaults.test": true, "10.0.0.1": true,
		"vaults.test": false, "evilvaults.test": false, ".vaults.test": false, "vault.test.evil": false, "": false, "10.0.0.10": false,
	} {
		if got := o.listed(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}

// A vault that no reference asked for yet says what is wrong with it too.
func TestFaultsOfEntities(t *testing.T) {
	t.Parallel()
	s := New(node())
	defer s.Forget()
	s.Begin(func(yield func(string, *configv1.Vault) bool) {
		_ = yield(home, &configv1.Vault{Name: new(kindFile), Prefix: new("up"), Config: &configv1.VaultConfig{Prefix: new("../x")}}) &&
			yield("w", &configv1.Vault{Name: new(kindFile), Prefix: new("sound")})
	})
	for at, want := range map[place]string{
		{home, "up"}:   "config.prefix: no folder: write it as team/prod, without '.', '..' and empty names",
		{"w", "up"}:    "",
		{"w", "sound"}: "",
	} {
		if got := s.Fault(at.workspace, at.name); got != want {
			t.Errorf("%v: %q", at, got)
		}
	}
}
