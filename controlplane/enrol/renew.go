package enrol

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keepgate/keepgate/controlplane/audit"
	"github.com/keepgate/keepgate/controlplane/enrol/nodes"
	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/grpccreds"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

// renewPause is the least between two certificates of one data plane, by default.
const renewPause = 2 * time.Second

// Renew certifies another key of the data plane that calls.
func (s *Service) Renew(ctx context.Context, said *enrolv1.RenewRequest) (*enrolv1.RenewResponse, error) {
	who, connection, err := grpccreds.PeerOf(ctx)
	if err != nil || who.Role != identity.DataPlane {
		return nil, status.Error(codes.PermissionDenied, "renewing is for data planes")
	}
	ctx = audit.WithActor(ctx, audit.Actor{Via: "node", Name: who.String()})
	if !nodes.MustBeKnown(connection) {
		return nil, s.notRenewed(ctx, who, refuse("its certificate was not given by joining: renew it where it was made (keepgate-cp certs issue)"))
	}
	if err := s.registry.Admit(ctx, connection, who); err != nil {
		return nil, s.notRenewed(ctx, who, err)
	}
	issued, err := s.renew(ctx, who, said)
	if err != nil {
		return nil, s.notRenewed(ctx, who, err)
	}
	return &enrolv1.RenewResponse{Issued: issued}, nil
}

func (s *Service) renew(ctx context.Context, with identity.Identity, said *enrolv1.RenewRequest) (*enrolv1.Issued, error) {
	who := with
	who.Serial, who.NotAfter = "", time.Time{}
	request, err := parseRequest(said.GetRequest())
	if err != nil {
		return nil, refuse("%s", err)
	}
	if err := request.asksFor(who); err != nil {
		return nil, refuse("%s", err)
	}
	chain, leaf, err := s.authority.Certify(who, request.csr.PublicKey, s.options.Validity)
	if err != nil {
		return nil, err
	}
	key, now := nodes.Key(who.Environment, who.Name), time.Now()
	certificate := nodes.Certificate{Serial: identity.SerialText(leaf.SerialNumber), IssuedAt: now.Unix(), NotAfter: leaf.NotAfter.Unix()}
	if err := s.record(ctx, "enrol.renew", "data-plane/"+key, "serial", certificate.Serial, "former", with.Serial, "expires", stamp(certificate.NotAfter)); err != nil {
		return nil, err
	}
	found, err := s.catalog.Together(ctx, nodes.Piece(key, func(d nodes.Document) (nodes.Document, error) {
		if _, held := d.Find(with.Serial); !held { // revoked or replaced since it was admitted
			return d, refuse("the certificate that it calls with counts no more")
		}
		if last := d.RenewedAt; now.Unix()-last < int64(s.options.RenewPause/time.Second) && last <= now.Unix() {
			return d, later("it was given another certificate a moment ago")
		}
		return d.Renew(with.Serial, certificate)
	}))
	if err != nil {
		return nil, err
	}
	s.registry.Took(found...)
	s.options.Log.Info("a data plane renewed its certificate", "data_plane", who.String(), "serial", certificate.Serial, "expires", stamp(certificate.NotAfter))
	return s.answer(chain), nil
}

// notRenewed notes why and gives it its code.
func (s *Service) notRenewed(ctx context.Context, who identity.Identity, err error) error {
	code, why := codes.Unavailable, "the control plane cannot certify anybody now; its log says why"
	if r, ok := errors.AsType[*refusal](err); ok {
		code, why = codes.FailedPrecondition, r.reason
		if r.again {
			code = codes.Unavailable
		}
	} else if fault.KindOf(err) == fault.Denied {
		code, why = codes.PermissionDenied, fault.Text(err)
	}
	s.options.Log.Warn("a data plane's certificate was not renewed", "data_plane", who.String(), "why", err)
	if s.options.Journal != nil {
		s.options.Journal.Refused(ctx, "enrol.renew", "data-plane/"+nodes.Key(who.Environment, who.Name), "serial", who.Serial, "reason", cut(why))
	}
	return status.Error(code, why)
}
