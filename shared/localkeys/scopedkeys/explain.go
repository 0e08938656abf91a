package scopedkeys

import "github.com/keepgate/keepgate/shared/localkeys"

// Explanation says which key seals something on this node, and why. It never holds the key.
type Explanation struct {
	Section localkeys.Section
	Scope   string // whose key it is
	From    string // where it was given
	ID      string // "" for keys that come of the node's own
	Why     string
}

// Explain says which key seals a section.
func (c *Choice) Explain(section localkeys.Section) Explanation {
	at, scoped := localkeys.ScopeOf(section, func(s localkeys.Section) bool { _, there := c.Chosen[s]; return there })
	if !scoped {
		return Explanation{section, "this node", "derived", "", "no scoped key is given: it comes of the node's own private key, and is no other node's"}
	}
	chosen := c.Chosen[at]
	why := chosen.Why
	switch {
	case section.Class == localkeys.KVM && at != section:
		why += "; environment " + section.Scope + " has no key of its own for key-value maps"
	case section.Class == localkeys.KVM && section.Scope == "":
		why += "; it seals maps of the organisation, a service, a route or a plugin"
	}
	return Explanation{section, chosen.Scope, chosen.From, chosen.Key.ID(), why}
}
