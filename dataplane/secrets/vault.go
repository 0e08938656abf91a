package secrets

import (
	"slices"
	"strconv"
	"strings"
	"time"

	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/secretbackend"
	"github.com/keepgate/keepgate/shared/vaultrule"
)

// The kinds of vaults, which are also what references call this node's own.
const (
	kindEnv  = "env"
	kindFile = "file"
	kindHCV  = "hcv"
)

func isKind(name string) bool { return slices.Contains([]string{kindEnv, kindFile, kindHCV}, name) }

// place is how a reference names a vault.
type place struct{ workspace, name string }

// vault is where references of one name in one workspace lead.
type vault struct {
	at      place
	spec    spec
	backend secretbackend.Backend // nil when it cannot be asked

	refused     map[string]bool // references that lead to no backend, in this round
	fails       int             // failures in a row that concern all of it
	notBefore   time.Time
	inFlight    int
	failures    uint64
	lastSuccess time.Time
	fault       string // of the last question, for operators; "" when it was answered
}

// spec is all that is configured of a vault.
type spec struct {
	kind string
	where
	access
	times
	fault string // why it cannot be used
}

// where tells a vault's secrets from those of another: what is known stays known while it stays.
type where struct {
	prefix                                 string // of variables; folders, each ended by a slash
	protocol, host, port, namespace, mount string
	v2                                     bool
}

// access is how a vault is asked.
type access struct {
	token          string // its own; a reference to a variable or a file, or the token
	nodes          bool   // the token or the service account of this node
	kubernetes     bool
	role, authPath string
	trusted        bool // it is this node's server, or in vault_hosts
}

// times are how long what is known counts; see the package doc.
type times struct{ ttl, negative, resurrect time.Duration }

// shortestTTL keeps a vault of the configuration from having this node ask all the time.
const shortestTTL = time.Second

// own is what a vault of this node itself is.
func (o Options) own(kind string) spec {
	s := spec{kind: kind, times: times{o.TTL, o.TTL, o.Resurrect}}
	switch kind {
	case kindEnv:
		s.env(o, "")
	case kindFile:
		s.files(o, home, "")
	default:
		s.times = times{o.HCV.TTL, o.Negative, o.Resurrect}
		s.hcv(o, &configv1.VaultConfig{})
	}
	return s
}

// of is what a vault entity of a workspace is.
func (o Options) of(workspace string, m *configv1.Vault) spec {
	c := m.GetConfig()
	if c == nil {
		c = &configv1.VaultConfig{}
	}
	s := o.own(m.GetName())
	s = spec{kind: s.kind, times: s.times}
	for into, seconds := range map[*time.Duration]*float64{&s.ttl: c.Ttl, &s.negative: c.NegTtl, &s.resurrect: c.ResurrectTtl} {
		if seconds != nil && *seconds >= 0 && *seconds <= 100_000_000 {
			*into = time.Duration(*seconds * float64(time.Second))
		}
	}
	if s.ttl > 0 {
		s.ttl = max(s.ttl, shortestTTL)
	}
	switch m.GetName() {
	case kindEnv:
		s.env(o, c.GetPrefix())
	case kindFile:
		s.files(o, workspace, c.GetPrefix())
	case kindHCV:
		s.hcv(o, c)
	default:
		s.fault = "name: this node does not know its kind"
	}
	if s.fault == "" {
		s.fault = wrongWith(workspace, m.GetName(), c)
	}
	return s
}

// wrongWith says what no node could use.
func wrongWith(workspace, kind string, c *configv1.VaultConfig) string {
	vault := vaultrule.Vault{
		Kind: kind, Prefix: c.GetPrefix(), Protocol: c.GetProtocol(), Host: c.GetHost(), Port: c.Port != nil,
		Mount: c.GetMount(), AuthPath: c.GetKubeAuthPath(), Space: c.GetNamespace(), Token: c.GetToken(), Kubernetes: c.GetAuthMethod() == "kubernetes",
	}
	faults := vaultrule.Faults(vault)
	if workspace != home {
		faults = append(faults, vaultrule.Elsewhere(vault)...)
	}
	said := make([]string, len(faults))
	for i, one := range faults {
		if said[i] = one.Message; one.Field != "" {
			said[i] = "config." + one.Field + ": " + one.Message
		}
	}
	return strings.Join(said, "; ")
}

func (s *spec) env(o Options, prefix string) {
	if o.EnvPrefix == "" {
		s.fault = "vault_env_prefix of this node is empty, so that no variable can be referred to"
	}
	s.prefix = o.EnvPrefix + secretbackend.Upper(prefix)
}

func (s *spec) files(o Options, workspace, prefix string) {
	if o.Folder == "" {
		s.fault = "vault_file_folder of this node is empty, so that no file can be referred to"
	}
	if workspace != home {
		s.prefix = workspace + "/"
	}
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		s.prefix += prefix + "/"
	}
}

// hcv fills in what the configuration leaves out. Without a host it is this node's server.
func (s *spec) hcv(o Options, c *configv1.VaultConfig) {
	n := o.HCV
	s.host, s.port, s.protocol, s.namespace, s.mount, s.v2 = n.Host, strconv.Itoa(n.Port), n.Protocol, n.Namespace, n.Mount, n.KV == "v2"
	if c.Host != nil {
		s.host, s.port, s.protocol, s.namespace = strings.Trim(c.GetHost(), "[]"), "8200", "https", ""
	}
	if c.Port != nil {
		s.port = strconv.FormatInt(c.GetPort(), 10)
	}
	given(&s.protocol, c.Protocol)
	given(&s.namespace, c.Namespace)
	given(&s.mount, c.Mount)
	if c.Kv != nil {
		s.v2 = c.GetKv() == "v2"
	}
	ours := n.Host != "" && strings.EqualFold(s.host, n.Host) && s.port == strconv.Itoa(n.Port) && s.protocol == n.Protocol
	s.trusted = ours || o.listed(s.host)
	s.token, s.kubernetes = c.GetToken(), c.GetAuthMethod() == "kubernetes"
	if c.AuthMethod == nil && s.token == "" {
		s.kubernetes = n.AuthMethod == "kubernetes"
	}
	if s.kubernetes {
		s.token, s.role, s.authPath = "", n.KubeRole, n.KubeAuthPath
		given(&s.role, c.KubeRole)
		given(&s.authPath, c.KubeAuthPath)
	}
	s.nodes = s.token == ""
	switch {
	case s.host == "":
		s.fault = "config.host: it names none, and vault_hcv_host of this node is empty"
	case !s.trusted && len(o.Hosts) > 0:
		s.fault = "config.host: it is not in vault_hosts of this node"
	case s.nodes && administers(s.mount):
		s.fault = "config.mount: it is no key-value store: with the token of this node nothing else is read"
	case s.nodes && !ours:
		s.fault = "config.token: it has none of its own, and this node logs in to the server of vault_hcv_host alone"
	case s.nodes && !s.kubernetes && n.TokenFile == "" && n.Token.Len() == 0:
		s.fault = "config.token: it has none, and neither has this node"
	}
}

func given(into *string, value *string) {
	if value != nil {
		*into = *value
	}
}
