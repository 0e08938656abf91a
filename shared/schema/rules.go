package schema

import (
	"fmt"
	"slices"
	"strconv"

	"google.golang.org/protobuf/reflect/protoreflect"

	schemav1 "github.com/keepgate/keepgate/proto/keepgate/schema/v1"
	"github.com/keepgate/keepgate/shared/reserved"
)

// rule is one rule over several fields. Every member may be nil.
type rule struct {
	prepare  func(b *build)                                  // before the merge, on b.doc
	complete func(b *build)                                  // after the defaults, on b.tree
	check    func(b *build, tree map[string]any, p problems) // on checked fields; adds to p
	config   func(tree map[string]any) (message string)      // of a plugin's configuration
	finish   func(b *build, m protoreflect.Message)
	reads    []string // the check is skipped when one of these fields is at fault
}

// rulesOf compiles the checks of a message.
func rulesOf(checks []*schemav1.Check) ([]rule, error) {
	var rules []rule
	for _, c := range checks {
		if c.GetCustom() == "" {
			rules = append(rules, rule{check: func(b *build, tree map[string]any, p problems) {
				runCheck(c, b.how == Update, tree, p)
			}})
			continue
		}
		r, found := customRule(c.GetCustom())
		if !found {
			return nil, fmt.Errorf("no rule %q", c.GetCustom())
		}
		rules = append(rules, r)
	}
	return rules, nil
}

// customRule finds a rule that the marks cannot say.
func customRule(name string) (rule, bool) {
	switch name {
	case "service_url":
		return serviceURL(), true
	case "route_protocols":
		return routeProtocols(), true
	case "upstream_hashing":
		return upstreamHashing(), true
	case "certificate_pairs":
		return certificatePairs(), true
	case "ca_certificate_digest":
		return caCertificateDigest(), true
	case "license_payload":
		return licensePayload(), true
	case "key_ttl":
		return keyTTL(), true
	case "request_termination_body":
		return requestTerminationBody(), true
	case "jwt_public_key":
		return jwtPublicKey(), true
	case "jwt_expiration":
		return jwtExpiration(), true
	case "rate_limits":
		return rateLimits(), true
	case "named_values":
		return namedValues(), true
	case "writes_request_headers":
		return transformedHeaders(reserved.Changes.OfRequest), true
	case "writes_response_headers":
		return transformedHeaders(reserved.Changes.OfResponse), true
	case "no_lua":
		return noLua(), true
	case "http_log":
		return httpLog(), true
	case "proxy_cache":
		return proxyCache(), true
	case "vault_config":
		return vaultConfig(), true
	case "kvm_lookup_source":
		return kvmLookupSource(), true
	}
	return rule{}, false
}

// runRules runs the rules of an entity on its checked tree.
func runRules(b *build, rules []rule, tree map[string]any, p problems) {
	for _, r := range rules {
		if r.check != nil && !faulty(p, r.reads...) {
			r.check(b, tree, p)
		}
	}
}

// faulty says whether one of the fields has a problem already: a rule over it would only repeat it.
func faulty(p problems, fields ...string) bool {
	return slices.ContainsFunc(fields, func(name string) bool { return p[name] != nil })
}

// runCheck runs one check that the marks say in full.
func runCheck(c *schemav1.Check, updating bool, tree map[string]any, p problems) {
	prefix := ""
	if updating {
		prefix = "when updating, "
	}
	if set := c.GetAtLeastOneOf().GetFields(); set != nil && !faulty(p, set...) && count(tree, set) == 0 {
		p.entity(prefix + "at least one of these fields must be non-empty: " + quoted(set))
	}
	if set := c.GetOnlyOneOf().GetFields(); set != nil && !faulty(p, set...) && count(tree, set) > 1 {
		p.entity("only one or none of these fields must be set: " + quoted(set))
	}
	if set := c.GetExactlyOneOf().GetFields(); set != nil && !faulty(p, set...) && count(tree, set) != 1 {
		p.entity("exactly one of these fields must be non-empty: " + quoted(set))
	}
	if set := c.GetAllOrNoneOf().GetFields(); set != nil && !faulty(p, set...) {
		if n := count(tree, set); n != 0 && n != len(set) {
			p.entity("all or none of these fields must be set: " + quoted(set))
		}
	}
	if c.GetConditional() != nil {
		runConditional(c.GetConditional(), tree, p)
	}
}

func runConditional(c *schemav1.Conditional, tree map[string]any, p problems) {
	if faulty(p, c.GetIfField(), c.GetThenField()) {
		return
	}
	value := plainText(tree[c.GetIfField()])
	if len(c.GetIfOneOf()) > 0 && !slices.Contains(c.GetIfOneOf(), value) ||
		len(c.GetIfNotOneOf()) > 0 && slices.Contains(c.GetIfNotOneOf(), value) {
		return
	}
	then, message := tree[c.GetThenField()], ""
	switch {
	case c.GetThenNull() && then != nil:
		message = mustBeNull
	case !c.GetThenNull() && then == nil && c.GetThen().GetRequired():
		message = requiredMissing
	case !c.GetThenNull() && then != nil && len(c.GetThen().GetOneOf()) > 0 &&
		!slices.Contains(c.GetThen().GetOneOf(), plainText(then)):
		message = "expected one of: " + joined(c.GetThen().GetOneOf())
	default:
		return
	}
	p.entity(conditionFailed(c.GetIfField()))
	p.field(c.GetThenField(), message)
}

// conditionFailed is what Kong says beside the problem of the field that a condition is about.
func conditionFailed(field string) string {
	return "failed conditional validation given value of field '" + field + "'"
}

// count counts the fields that are neither null nor empty.
func count(tree map[string]any, fields []string) int {
	n := 0
	for _, name := range fields {
		if !isEmpty(tree[name]) {
			n++
		}
	}
	return n
}

func isEmpty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// plainText writes a scalar as one_of writes it.
func plainText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return plain(v)
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}
