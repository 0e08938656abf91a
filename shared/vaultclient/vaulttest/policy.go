package vaulttest

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// defaultPolicy is what of Vault's policy "default" concerns tokens.
const defaultPolicy = `
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }`

// rule is one stanza of a policy.
type rule struct {
	path         string
	capabilities []string
}

// Policy puts a policy in the form that operators write.
func (s *Server) Policy(name, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policies[name] = parsePolicy(text)
}

// parsePolicy reads the stanzas `path "…" { capabilities = ["…"] }` of HCL.
func parsePolicy(text string) (rules []rule) {
	text = regexp.MustCompile(`(?m)#.*$`).ReplaceAllString(text, "")
	for _, stanza := range regexp.MustCompile(`path\s+"([^"]*)"\s*\{([^}]*)\}`).FindAllStringSubmatch(text, -1) {
		r := rule{path: stanza[1]}
		if list := regexp.MustCompile(`capabilities\s*=\s*\[([^\]]*)\]`).FindStringSubmatch(stanza[2]); list != nil {
			for _, one := range regexp.MustCompile(`"([a-z]+)"`).FindAllStringSubmatch(list[1], -1) {
				r.capabilities = append(r.capabilities, one[1])
			}
		}
		rules = append(rules, r)
	}
	return rules
}

// allowed applies the token's policies: the most specific path counts, and deny wins on it.
func (s *Server) allowed(c *call) bool {
	if slices.Contains(c.token.policies, "root") {
		return true
	}
	best, found := "", map[string]bool{}
	for _, name := range c.token.policies {
		for _, r := range s.policies[name] {
			if !r.covers(c.path) || len(r.path) < len(best) {
				continue
			}
			if len(r.path) > len(best) {
				best, found = r.path, map[string]bool{}
			}
			for _, capability := range r.capabilities {
				found[capability] = true
			}
		}
	}
	if found["deny"] {
		return false
	}
	switch c.method {
	case http.MethodGet:
		return found["read"]
	case "LIST":
		return found["list"]
	case http.MethodDelete:
		return found["delete"]
	case http.MethodPatch:
		return found["patch"]
	}
	return found["update"] || found["create"]
}

// covers matches "+" to one segment, and "*" at the end to anything.
func (r rule) covers(path string) bool {
	pattern, prefix := strings.CutSuffix(r.path, "*")
	wants, has := strings.Split(pattern, "/"), strings.Split(path, "/")
	for i, want := range wants {
		last := i == len(wants)-1
		switch {
		case i >= len(has):
			return false
		case last && prefix:
			return strings.HasPrefix(has[i], want)
		case want != "+" && want != has[i]:
			return false
		}
	}
	return len(wants) == len(has)
}
