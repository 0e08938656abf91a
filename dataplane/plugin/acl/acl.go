// Package acl is the plugin acl: it lets in who is in some group, or keeps out who is.
//
// It says nothing about who somebody is: an auth plugin has run before. The groups of a consumer are its acls, and its
// consumer groups where the configuration says so; those of a client certificate without a consumer are what it proved.
package acl

import (
	"errors"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
)

const name = "acl"

// Kind is the plugin.
type Kind struct{}

// Name implements plugin.Kind.
func (Kind) Name() string { return name }

// Priority implements plugin.Kind.
func (Kind) Priority() int { return 950 }

// New implements plugin.Kind.
func (Kind) New(config []byte, env plugin.Env) (any, error) {
	var c pluginv1.Acl
	if err := proto.Unmarshal(config, &c); err != nil {
		return nil, errors.New("configuration cannot be decoded")
	}
	allow, deny := c.GetAllow().GetValues(), c.GetDeny().GetValues()
	if (len(allow) == 0) == (len(deny) == 0) {
		return nil, errors.New("exactly one of allow and deny is to name groups")
	}
	i := &instance{
		store: env.Store, named: map[string]bool{}, denies: len(deny) > 0, hide: c.GetHideGroupsHeader(),
		authenticated: c.GetAlwaysUseAuthenticatedGroups(), consumerGroups: c.GetIncludeConsumerGroups(),
	}
	for _, group := range append(allow, deny...) {
		i.named[group] = true
	}
	return i, nil
}

// instance is one configuration.
type instance struct {
	store          int
	named          map[string]bool
	denies         bool // the named groups; else all others
	hide           bool
	authenticated  bool // groups that were proven count before those of the consumer
	consumerGroups bool // are groups too
}

var (
	errUnauthorized = &plugin.Refusal{Status: 401, Message: "Unauthorized"}
	errForbidden    = &plugin.Refusal{Status: 403, Message: "You cannot consume this service"}
)

const (
	groupsHeader              = "X-Consumer-Groups"
	authenticatedGroupsHeader = "X-Authenticated-Groups"
)

// Access implements plugin.Accesser.
func (i *instance) Access(ex *exchange.Exchange, on *plugin.Runtime) {
	who := &ex.Consumer
	proven := len(who.AuthenticatedGroups) > 0
	switch known := who.ID != ""; {
	case proven && (!known || who.CredentialID == "" || i.authenticated):
		i.byAuthenticated(ex)
	case known:
		i.byConsumer(ex, on)
	case who.CredentialID != "":
		plugin.Refuse(ex, errForbidden)
	default:
		plugin.Refuse(ex, errUnauthorized)
	}
}

// byAuthenticated decides by the groups that somebody proved to be in.
func (i *instance) byAuthenticated(ex *exchange.Exchange) {
	groups, in := ex.Consumer.AuthenticatedGroups, false
	for _, group := range groups {
		in = in || i.named[group]
	}
	if in == i.denies {
		plugin.Refuse(ex, errForbidden)
		return
	}
	if i.hide {
		return
	}
	text := groups[0]
	for _, group := range groups[1:] {
		text = ex.Join(text, ", ", group)
	}
	ex.Request.Header.Set(authenticatedGroupsHeader, text)
}

// byConsumer decides by the groups of a consumer. The anonymous one is a consumer too; without a group it is told that it
// did not authenticate.
func (i *instance) byConsumer(ex *exchange.Exchange, on *plugin.Runtime) {
	who := &ex.Consumer
	groups, _ := on.Store(i.store).(*store)
	own := groups.of(who.ID)
	in := i.anyNamed(own.names)
	if i.consumerGroups {
		for n := range who.Groups {
			in = in || i.named[who.Groups[n].Name]
		}
	}
	switch none := len(own.names) == 0 && (!i.consumerGroups || len(who.Groups) == 0); {
	case i.denies && (in || groups.mayBeIn(who.ID, i.named)):
		plugin.Refuse(ex, errForbidden)
	case !i.denies && none && who.CredentialID == "":
		plugin.Refuse(ex, errUnauthorized)
	case !i.denies && !in:
		plugin.Refuse(ex, errForbidden)
	case !i.hide && !none:
		text := own.text
		if i.consumerGroups {
			text = joined(ex, own, who.Groups)
		}
		ex.Request.Header.Set(groupsHeader, text)
	}
}

func (i *instance) anyNamed(groups []string) bool {
	for _, group := range groups {
		if i.named[group] {
			return true
		}
	}
	return false
}

// joined lists the acls of a consumer, then those of its consumer groups that are not among them.
func joined(ex *exchange.Exchange, own groups, consumer []exchange.Group) string {
	text := own.text
	for n := range consumer {
		switch group := consumer[n].Name; {
		case own.has(group):
		case text == "":
			text = group
		default:
			text = ex.Join(text, ", ", group)
		}
	}
	return text
}
