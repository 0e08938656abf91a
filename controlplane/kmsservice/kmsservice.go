// Package kmsservice serves keepgate.wrap.v1 to the KMS plugins of Kubernetes clusters: the network's side of
// controlplane/keks.
//
// It decides who may use which KEK, and by the certificate alone: one of role kms, whose name up to the first dot is
// the KEK's. That is looked at again while it calls (guard.go), so that a connection outlives no revocation.
package kmsservice

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/keepgate/keepgate/controlplane/keks"
	wrapv1 "github.com/keepgate/keepgate/proto/keepgate/wrap/v1"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/grpccreds"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

// Server answers for the KEKs. It is safe for concurrent use.
type Server struct {
	wrapv1.UnimplementedWrapServiceServer
	keks   *keks.Keks
	checks *checks
	log    *slog.Logger
}

// New makes a Server and starts nothing.
func New(k *keks.Keks, guard Guard, log *slog.Logger) *Server {
	return &Server{keks: k, checks: &checks{guard: guard, kept: map[*x509.Certificate]checked{}}, log: log}
}

// Describe implements wrapv1.WrapServiceServer.
func (s *Server) Describe(ctx context.Context, _ *wrapv1.DescribeRequest) (*wrapv1.DescribeResponse, error) {
	_, name, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	keys, rotateEvery, err := s.keks.Keys(ctx, name)
	if err != nil {
		return nil, s.statusOf(ctx, name, err)
	}
	answer := &wrapv1.DescribeResponse{Name: name, RotateEvery: int64(rotateEvery.Seconds())}
	for _, key := range keys {
		answer.Keys = append(answer.Keys, &wrapv1.Key{KeyId: key.KeyID, Generation: key.Number, CreatedAt: key.CreatedAt.Unix()})
	}
	return answer, nil
}

// Wrap implements wrapv1.WrapServiceServer.
func (s *Server) Wrap(ctx context.Context, r *wrapv1.WrapRequest) (*wrapv1.WrapResponse, error) {
	defer clear(r.Plaintext)
	by, name, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	wrapped, keyID, err := s.keks.Wrap(ctx, by, keks.Use{Name: name, UID: r.Uid, KeyID: r.KeyId, Trial: r.Canary}, r.Plaintext)
	if err != nil {
		return nil, s.statusOf(ctx, name, err)
	}
	return &wrapv1.WrapResponse{Ciphertext: wrapped, KeyId: keyID}, nil
}

// Unwrap implements wrapv1.WrapServiceServer.
func (s *Server) Unwrap(ctx context.Context, r *wrapv1.UnwrapRequest) (*wrapv1.UnwrapResponse, error) {
	by, name, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	plaintext, err := s.keks.Unwrap(ctx, by, keks.Use{Name: name, UID: r.Uid, KeyID: r.KeyId, Trial: r.Canary, Also: r.Also}, r.Ciphertext)
	if err != nil {
		return nil, s.statusOf(ctx, name, err)
	}
	return &wrapv1.UnwrapResponse{Plaintext: plaintext}, nil
}

// caller says who calls, and which KEK is theirs.
func (s *Server) caller(ctx context.Context) (by keks.Caller, name string, err error) {
	who, connection, err := grpccreds.PeerOf(ctx) // by its certificate, never by what it says
	if err != nil || who.Role != identity.KMS {
		return by, "", status.Error(codes.PermissionDenied, "this service is for certificates of role kms")
	}
	if err := s.checks.check(connection); err != nil {
		return by, "", status.Error(codes.PermissionDenied, fault.Text(err))
	}
	by = keks.Caller{Organisation: who.Organisation, Identity: who.String(), Serial: who.Serial}
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		by.Client = p.Addr.String()
	}
	name, _, _ = strings.Cut(who.Name, ".")
	return by, name, nil
}

// statusOf is how gRPC says what a fault says.
func (s *Server) statusOf(ctx context.Context, name string, err error) error {
	code := codes.Internal
	switch fault.KindOf(err) {
	case fault.NotFound:
		code = codes.NotFound
	case fault.Conflict:
		code = codes.FailedPrecondition
	case fault.Invalid:
		code = codes.InvalidArgument
	case fault.Denied:
		code = codes.PermissionDenied
	case fault.Unavailable:
		code = codes.Unavailable
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		code = codes.Unavailable
	}
	if code == codes.Internal {
		s.log.ErrorContext(ctx, "a call of a KMS plugin failed", "kek", name, "subject", fault.SubjectOf(err), "error", err)
		return status.Error(code, "an unexpected error occurred; the control plane's log says more")
	}
	return status.Error(code, fault.Text(err))
}
