package compile

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/dataplane/plugin"
	"github.com/keepgate/keepgate/dataplane/table"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// everyName stands for the default policy: of handshakes without a server name, or with one that has no policy of its own.
const everyName = "*"

// asked is what the handshakes of one server name ask for: the certificate authorities of every plugin that may want
// certificates there, by id, and whether the request names them.
type asked map[string]bool

func (a asked) add(c *plugin.ClientCertificates) {
	for _, id := range c.Authorities {
		a[id] = a[id] || c.Names
	}
}

// handshakes decides, by Kong's rule, which handshakes ask for certificates: those of the server names that the routes list
// on which a plugin wants them; all, when one of these routes lists none or the plugin is global. It adds to names what the run's
// workspace asks for.
func (r *run) handshakes(names map[string]asked) {
	if !r.scopes.wantsCertificates() {
		return
	}
	ask := func(name string, c *plugin.ClientCertificates) {
		name = strings.TrimSuffix(strings.ToLower(name), ".")
		if names[name] == nil {
			names[name] = asked{}
		}
		names[name].add(c)
	}
	if global := r.scopes.bound[scope{}]; global != nil {
		for _, instance := range global.plain {
			if c := instance.ClientCertificates(); c != nil {
				ask(everyName, c)
			}
		}
	}
	for _, e := range r.each("routes") {
		m := e.message.(*configv1.Route)
		if r.disabled[m.GetService().GetId()] {
			continue
		}
		plan := r.scopes.plan(e.id, m.GetService().GetId(), m.GetProtocols().GetValues())
		for _, c := range plan.ClientCertificates() {
			for _, name := range m.GetSnis().GetValues() {
				ask(name, c)
			}
			if len(m.GetSnis().GetValues()) == 0 {
				ask(everyName, c)
			}
		}
	}
}

// policies turns what is asked for into policies. What is asked under a wider name is asked under the narrower ones too: its
// routes take their requests.
func (r *run) policies(names map[string]asked) map[string]*table.Handshake {
	policies := make(map[string]*table.Handshake, len(names))
	same := map[string]*table.Handshake{}
	var wider []string
	for name := range names {
		if strings.Contains(name, "*") {
			wider = append(wider, name)
		}
	}
	for name, own := range names {
		whole := maps.Clone(own)
		for _, wide := range wider {
			if !covers(wide, name) {
				continue
			}
			for id, named := range names[wide] {
				whole[id] = whole[id] || named
			}
		}
		policy := r.policy(whole)
		if same[policy.Key] == nil {
			same[policy.Key] = policy
		}
		policies[name] = same[policy.Key]
	}
	return policies
}

// covers says whether a route with the name wide, which has a wildcard, may take requests whose policy is found under name.
// "prefix.*" and "*.suffix" meet in names that are found under the latter.
func covers(wide, name string) bool {
	switch {
	case wide == everyName:
		return true
	case strings.HasPrefix(wide, "*"):
		return strings.HasSuffix(name, wide[1:])
	default:
		return strings.HasPrefix(name, wide[:len(wide)-1]) || strings.HasPrefix(name, "*")
	}
}

// policy makes one policy. Its key holds the authorities' certificates, so that an exchanged one makes another policy.
func (r *run) policy(a asked) *table.Handshake {
	policy, sum := &table.Handshake{}, sha256.New()
	for _, id := range slices.Sorted(maps.Keys(a)) {
		authority := r.authority(id)
		mark := []byte{0, 0}
		sum.Write([]byte(id + "\x00"))
		if authority != nil {
			mark[0] = 1
			digest := sha256.Sum256(authority.Raw)
			sum.Write(digest[:])
		}
		if a[id] {
			mark[1] = 1
		}
		sum.Write(mark)
		if a[id] && authority != nil {
			if policy.Authorities == nil {
				policy.Authorities = x509.NewCertPool()
			}
			policy.Authorities.AddCert(authority)
		}
	}
	policy.Key = hex.EncodeToString(sum.Sum(nil)[:16])
	return policy
}

// wantsCertificates says whether any plugin does, so that configurations without one cost nothing.
func (s *scopes) wantsCertificates() bool {
	wants := func(instance *plugin.Instance) bool { return instance.ClientCertificates() != nil }
	for _, b := range s.bound {
		for _, instance := range b.plain {
			if wants(instance) {
				return true
			}
		}
		for _, instances := range [...]map[string]map[string]*plugin.Instance{b.consumers, b.groups} {
			for _, byID := range instances {
				for _, instance := range byID {
					if wants(instance) {
						return true
					}
				}
			}
		}
	}
	return false
}
