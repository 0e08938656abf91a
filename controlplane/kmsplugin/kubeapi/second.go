package kubeapi

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v2 "k8s.io/kms/apis/v2"
)

// second is version 2.
type second struct {
	v2.UnsafeKeyManagementServiceServer
	api *API
}

const (
	versionTwo = "v2"
	healthy    = "ok"
)

// Status says which key encrypts, from memory.
func (s *second) Status(ctx context.Context, _ *v2.StatusRequest) (*v2.StatusResponse, error) {
	verdict := s.api.kek.Verdict()
	if verdict.IsLost {
		return nil, status.Error(codes.Unavailable, verdict.Trouble)
	}
	healthz := healthy
	if verdict.Trouble != "" {
		healthz = verdict.Trouble
	}
	s.api.say(ctx, verdict.Current.ID)
	return &v2.StatusResponse{Version: versionTwo, Healthz: healthz, KeyId: verdict.Current.ID}, nil
}

// Encrypt wraps under the key that Status named on this connection.
func (s *second) Encrypt(ctx context.Context, request *v2.EncryptRequest) (*v2.EncryptResponse, error) {
	ciphertext, id, err := s.api.wrap(ctx, request.Uid, s.api.named(ctx), request.Plaintext)
	if err != nil {
		return nil, err
	}
	return &v2.EncryptResponse{Ciphertext: ciphertext, KeyId: id}, nil
}

// Decrypt unwraps what Encrypt gave, and nothing else.
func (s *second) Decrypt(ctx context.Context, request *v2.DecryptRequest) (*v2.DecryptResponse, error) {
	if len(request.Annotations) > 0 {
		return nil, status.Error(codes.InvalidArgument, "this plugin gives out no annotations, so it did not encrypt this")
	}
	plaintext, err := s.api.unwrap(ctx, request.Uid, request.KeyId, request.Ciphertext)
	if err != nil {
		return nil, err
	}
	return &v2.DecryptResponse{Plaintext: plaintext}, nil
}
