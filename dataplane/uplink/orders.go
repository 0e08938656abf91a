package uplink

import (
	"crypto/tls"
	"errors"

	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/mtls/grpccreds"
)

// order carries out one command. The answer that is due at once is a report: it acknowledges a trust, and says that
// one was not taken. It fails with errWiped when this node has erased what it held.
func (u *Uplink) order(c *conversation, command *syncv1.Command) (*syncv1.StreamRequest, error) {
	switch {
	case command.GetTrust() != nil:
		_, from, err := grpccreds.PeerOf(c.stream.Context())
		if err == nil {
			err = u.node.Orders.Trust(command.GetTrust(), from)
		}
		if err != nil {
			u.options.Log.Error("the trust that the control plane gave is not taken; this node goes on with its own", "sequence", command.GetTrust().GetSequence(), "error", err)
		}
		return u.report(), nil
	case command.GetRenew() != nil:
		u.node.Orders.Renew(command.GetRenew().GetReason())
	case command.GetWipe() != nil:
		if err := u.node.Orders.Wipe(command.GetWipe()); err != nil {
			u.options.Log.Error("an order to erase what this node holds is not followed", "error", err)
			return nil, nil
		}
		return nil, errWiped
	}
	return nil, nil // what this build does not know
}

// noOrders is for a node that nobody may order about.
type noOrders struct{}

var errNoOrders = errors.New("this node takes no orders")

func (noOrders) TrustSequence() uint64                           { return 0 }
func (noOrders) Trust(*enrolv1.Trust, tls.ConnectionState) error { return errNoOrders }
func (noOrders) Renew(string)                                    {}
func (noOrders) Wipe(*enrolv1.SignedWipe) error                  { return errNoOrders }
