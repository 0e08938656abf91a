// Package iprestriction is the plugin ip-restriction: it lets addresses in, or keeps them out.
//
// The address is the client's as far as trusted proxies vouch for it. A list of any length is searched in
// logarithmic time.
package iprestriction

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
)

// Kind is the plugin.
type Kind struct{}

// Name implements plugin.Kind.
func (Kind) Name() string { return "ip-restriction" }

// Priority implements plugin.Kind.
func (Kind) Priority() int { return 990 }

// New implements plugin.Kind.
func (Kind) New(config []byte, _ plugin.Env) (any, error) {
	var c pluginv1.IpRestriction
	if err := proto.Unmarshal(config, &c); err != nil {
		return nil, errors.New("configuration cannot be decoded")
	}
	i := &instance{status: 403, limited: len(c.GetAllow().GetValues()) > 0}
	if !i.limited && len(c.GetDeny().GetValues()) == 0 {
		return nil, errors.New("allow and deny are empty")
	}
	var err error
	if i.allow, err = parse(c.GetAllow().GetValues()); err != nil {
		return nil, fmt.Errorf("allow: %w", err)
	}
	if i.deny, err = parse(c.GetDeny().GetValues()); err != nil {
		return nil, fmt.Errorf("deny: %w", err)
	}
	if c.Status != nil {
		if i.status = int(c.GetStatus()); float64(i.status) != c.GetStatus() || i.status < 200 || i.status > 599 {
			return nil, errors.New("status is none that a request can be answered with")
		}
	}
	if c.GetMessage() != "" {
		i.refusal = &plugin.Refusal{Status: i.status, Message: c.GetMessage()}
	}
	return i, nil
}

// instance is one configuration.
type instance struct {
	allow, deny addresses
	limited     bool // to allow
	status      int
	refusal     *plugin.Refusal // nil: the message names the address
}

// Access implements plugin.Accesser.
func (i *instance) Access(ex *exchange.Exchange, _ *plugin.Runtime) {
	addr := ex.Request.ClientAddr
	if addr.IsValid() && !i.deny.contains(addr) && (!i.limited || i.allow.contains(addr)) {
		return
	}
	if i.refusal != nil {
		plugin.Refuse(ex, i.refusal)
		return
	}
	text := "unknown"
	if addr.IsValid() {
		text = addr.Unmap().WithZone("").String()
	}
	plugin.Refuse(ex, &plugin.Refusal{Status: i.status, Message: "IP address not allowed: " + text})
}
