package enrolment

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/proof"
)

// WipeContext is what the proof of a wipe is made and looked at under (mtls.Source.Sign).
const WipeContext = "wipe"

// Signer is an [mtls.Source] as far as signing goes.
type Signer interface {
	Sign(context string, message []byte) (said []byte, err error)
}

// Prover is an [mtls.Source] as far as believing a signature goes.
type Prover interface {
	Proven(context string, message, said []byte, at proof.Moment, roles ...identity.Role) (identity.Identity, error)
}

// SignWipe signs the order to one node to erase what it holds.
func SignWipe(signer Signer, wipe *enrolv1.Wipe) (*enrolv1.SignedWipe, error) {
	if err := checkWipe(wipe); err != nil {
		return nil, err
	}
	message, err := proto.MarshalOptions{Deterministic: true}.Marshal(wipe)
	if err != nil {
		return nil, fmt.Errorf("encoding the order: %w", err)
	}
	said, err := signer.Sign(WipeContext, message)
	if err != nil {
		return nil, err
	}
	return &enrolv1.SignedWipe{Wipe: message, Proof: said}, nil
}

// ProvenWipe returns an order that a control plane has signed, and who that was. Whether it is meant for this node, and
// for a certificate that it has, is for the caller to say.
func ProvenWipe(prover Prover, signed *enrolv1.SignedWipe) (*enrolv1.Wipe, identity.Identity, error) {
	signer, err := prover.Proven(WipeContext, signed.GetWipe(), signed.GetProof(), proof.Now, identity.ControlPlane)
	if err != nil {
		return nil, identity.Identity{}, err
	}
	var wipe enrolv1.Wipe
	if err := proto.Unmarshal(signed.GetWipe(), &wipe); err != nil {
		return nil, identity.Identity{}, fmt.Errorf("the order cannot be decoded: %w", err)
	}
	if err := checkWipe(&wipe); err != nil {
		return nil, identity.Identity{}, err
	}
	return &wipe, signer, nil
}

func checkWipe(wipe *enrolv1.Wipe) error {
	id, err := identity.Parse(wipe.GetIdentity())
	switch {
	case err != nil:
		return fmt.Errorf("the order names nobody: %w", err)
	case id.Role != identity.DataPlane:
		return fmt.Errorf("the order is for a %s; only data planes are wiped", id.Role)
	case wipe.GetSerial() == "" || wipe.GetRevokedAt() <= 0:
		return errors.New("the order does not say which certificate was revoked, and when")
	}
	return nil
}
