package main

//lint:file-ignore SA1019 version 1 of the protocol is deprecated, and still spoken by plugins that have to be moved away from

import (
	"context"
	"maps"

	"k8s.io/kms/apis/v1beta1"
	"k8s.io/kms/pkg/service"
)

// v2Service is what the service library asks of a plugin.
type v2Service struct{ *plugin }

func (s v2Service) Status(context.Context) (*service.StatusResponse, error) {
	s.mu.Lock()
	s.flapped++
	faults := s.saved.Faults
	s.mu.Unlock()
	answer := &service.StatusResponse{Version: or(faults.Version, "v2"), Healthz: or(faults.Healthz, "ok")}
	if faults.StatusKeyID != nil {
		answer.KeyID = *faults.StatusKeyID
		return answer, nil
	}
	k, err := s.current()
	answer.KeyID = k.ID
	return answer, err
}

func (s v2Service) Encrypt(_ context.Context, _ string, data []byte) (*service.EncryptResponse, error) {
	s.mu.Lock()
	faults := s.saved.Faults
	s.mu.Unlock()
	annotations := map[string][]byte{"round.kmsplugin.keepgate.test": []byte("1")}
	maps.Copy(annotations, faults.Annotations)
	keyID, ciphertext, err := s.wrap(data, annotations)
	if faults.EncryptKeyID != nil {
		keyID = *faults.EncryptKeyID
	}
	return &service.EncryptResponse{Ciphertext: ciphertext, KeyID: keyID, Annotations: annotations}, err
}

func (s v2Service) Decrypt(_ context.Context, _ string, r *service.DecryptRequest) ([]byte, error) {
	return s.unwrap(r.KeyID, r.Ciphertext, r.Annotations)
}

// v1Service is version 1, whose ciphertext names its key: length, id, sealed bytes.
type v1Service struct {
	v1beta1.UnsafeKeyManagementServiceServer
	*plugin
}

func (s v1Service) Version(context.Context, *v1beta1.VersionRequest) (*v1beta1.VersionResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &v1beta1.VersionResponse{Version: or(s.saved.Faults.V1Version, "v1beta1"), RuntimeName: "kmsplugin", RuntimeVersion: "1.0.0"}, nil
}

func (s v1Service) Encrypt(_ context.Context, r *v1beta1.EncryptRequest) (*v1beta1.EncryptResponse, error) {
	if err := wantVersion(r.Version); err != nil {
		return nil, err
	}
	k, err := s.current()
	if err != nil {
		return nil, err
	}
	keyID, sealed, err := s.wrap(r.Plain, nil)
	if err != nil || len(sealed) == 0 || keyID != k.ID {
		return &v1beta1.EncryptResponse{}, err
	}
	return &v1beta1.EncryptResponse{Cipher: append(append([]byte{byte(len(keyID))}, keyID...), sealed...)}, nil
}

func (s v1Service) Decrypt(_ context.Context, r *v1beta1.DecryptRequest) (*v1beta1.DecryptResponse, error) {
	if err := wantVersion(r.Version); err != nil {
		return nil, err
	}
	if len(r.Cipher) == 0 || len(r.Cipher) <= int(r.Cipher[0]) {
		return nil, errForeign
	}
	end := 1 + int(r.Cipher[0])
	plain, err := s.unwrap(string(r.Cipher[1:end]), r.Cipher[end:], nil)
	return &v1beta1.DecryptResponse{Plain: plain}, err
}
