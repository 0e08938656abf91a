// Package facts reads off a row what counts for which environment holds it: names, tags, what it refers to and what it needs.
//
// What counts is in clear, so that rows which do not open are selected as ever; only what they refer to by their values may be sealed.
package facts

import (
	"cmp"
	"net"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/keepgate/keepgate/controlplane/publish/selection"
	"github.com/keepgate/keepgate/controlplane/record"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/schema"
)

// Checks returns the table of the credentials that a plugin checks, "" where it checks none.
func Checks(plugin string) string {
	switch plugin {
	case "basic-auth":
		return "basicauth_credentials"
	case "jwt":
		return "jwt_secrets"
	case "key-auth":
		return "keyauth_credentials"
	case "mtls-auth":
		return "mtls_auth_credentials"
	}
	return ""
}

// Of returns what counts of a row for who holds it. All of it is in clear, so that rows which do not open are selected as
// ever. entity is nil where the row cannot be read at all: then what it was known to be before counts on, beside what
// stands in the row's columns. What refers to others by values that do not open is marked as such by who knows.
func Of(entities *schema.Schema, row record.Row, entity proto.Message, before *selection.Row) *selection.Row {
	facts := &selection.Row{Ref: selection.Ref{Table: row.Table, ID: row.ID}, Workspace: row.Workspace, Tags: slices.Clone(row.Tags)}
	if known, ok := entities.Entity(row.Table); ok {
		for _, f := range known.Foreign {
			id := row.Foreign[f.Field.Name]
			switch {
			case id == "":
			case f.Table == "environments": // does not travel itself
				facts.Environment = id
			default:
				facts.Parents = append(facts.Parents, selection.Ref{Table: f.Table, ID: id})
			}
		}
	}
	switch m := entity.(type) {
	case nil:
		if before != nil {
			known := *before
			known.Workspace, known.Tags, known.Parents, known.Environment = facts.Workspace, facts.Tags, facts.Parents, facts.Environment
			return &known
		}
		facts.Name = spelt(row.Table, cmp.Or(row.Unique["name"], row.Unique["username"], row.Unique["prefix"]))
	case *configv1.Service:
		facts.Name, facts.Host = m.GetName(), strings.ToLower(m.GetHost())
		facts.Authorities = m.GetCaCertificates().GetValues()
	case *configv1.Route:
		facts.Name, facts.Names, facts.TLS = m.GetName(), namesOf(m), overTLS(m.GetProtocols().GetValues())
	case *configv1.Plugin:
		facts.Name = m.GetName()
		needsOf(entities, m, facts)
	case *configv1.Consumer:
		facts.Name = m.GetUsername()
	case *configv1.ConsumerGroup:
		facts.Name = m.GetName()
	case *configv1.Target:
		facts.Name = m.GetTarget()
	case *configv1.Upstream:
		facts.Name = spelt(row.Table, m.GetName())
	case *configv1.Sni:
		facts.Name = spelt(row.Table, m.GetName())
	case *configv1.Certificate:
		refersTo(m.ProtoReflect(), facts)
	case *configv1.KeyValueMap:
		facts.Name = m.GetName()
	case *configv1.KeyValueEntry:
		facts.Name = m.GetKey()
	case *configv1.Vault:
		facts.Name = m.GetPrefix()
		refersTo(m.ProtoReflect(), facts)
	}
	settleReferences(facts)
	return facts
}

// namesOf are the hosts and server names that a route lists, each once.
func namesOf(m *configv1.Route) (names []string) {
	for _, host := range m.GetHosts().GetValues() {
		if bare, _, err := net.SplitHostPort(host); err == nil {
			host = bare
		}
		names = append(names, plainName(host))
	}
	for _, name := range m.GetSnis().GetValues() {
		names = append(names, plainName(name))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// spelt is a row's name as others name it.
func spelt(table, name string) string {
	switch table {
	case "upstreams":
		return strings.ToLower(name)
	case "snis":
		return plainName(name)
	}
	return name
}

func plainName(name string) string { return strings.TrimSuffix(strings.ToLower(name), ".") }

// overTLS reports whether data planes answer over TLS for a route of these protocols: they do for every route of
// requests, also where the protocols are http alone, which only say what may come in clear.
func overTLS(protocols []string) bool {
	return len(protocols) == 0 || slices.ContainsFunc(protocols, func(p string) bool { return p != "tcp" && p != "udp" && p != "tls_passthrough" })
}

// needsOf reads what a plugin's configuration calls for. Only what it refers to by its values may be encrypted; a plugin that this program does not know
// calls for nothing.
func needsOf(entities *schema.Schema, m *configv1.Plugin, facts *selection.Row) {
	known, ok := entities.Plugin(m.GetName())
	if !ok {
		return
	}
	config := known.Config.New()
	if proto.Unmarshal(m.GetConfig(), config.Interface()) != nil {
		return
	}
	facts.Authorities = listIn(config, "ca_certificates")
	for _, field := range []protoreflect.Name{"anonymous", "default_consumer"} {
		if d := config.Descriptor().Fields().ByName(field); d != nil && config.Get(d).String() != "" {
			facts.Consumers = append(facts.Consumers, config.Get(d).String())
		}
	}
	if m.Enabled != nil && !m.GetEnabled() {
		return
	}
	facts.Checks = Checks(m.GetName())
	if d := config.Descriptor().Fields().ByName("consumer_by"); d != nil {
		skip := config.Descriptor().Fields().ByName("skip_consumer_lookup")
		facts.Finds = (skip == nil || !config.Get(skip).Bool()) && (!config.Has(d) || len(listIn(config, "consumer_by")) > 0)
	}
	refersTo(config, facts)
	if d := config.Descriptor().Fields().ByName("map"); d != nil && m.GetName() == lookupPlugin {
		facts.Maps = append(facts.Maps, config.Get(d).String())
	}
}

// listIn returns the strings of a list in a wrapper.
func listIn(m protoreflect.Message, field protoreflect.Name) (values []string) {
	d := m.Descriptor().Fields().ByName(field)
	if d == nil || d.Message() == nil || !m.Has(d) {
		return nil
	}
	wrapper := m.Get(d).Message()
	list := wrapper.Get(wrapper.Descriptor().Fields().ByName("values")).List()
	for i := range list.Len() {
		values = append(values, list.Get(i).String())
	}
	return values
}
