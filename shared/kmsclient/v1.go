package kmsclient

//lint:file-ignore SA1019 version 1 of the protocol is deprecated, and still spoken by plugins that have to be moved away from

import (
	"context"
	"fmt"
	"sync/atomic"

	kms "k8s.io/kms/apis/v1beta1"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

const (
	versionOfV1 = "v1beta1"
	// MaxCipherV1 is what the two bytes of its length in a stored value can say.
	MaxCipherV1 = 1<<16 - 1
)

// V1 is a plugin that speaks KMS v1, v1beta1 on the wire. It is safe for concurrent use. It has no word for its
// health and none for its key.
type V1 struct {
	link  *link
	known atomic.Bool // that it speaks v1beta1
}

// Runtime is what a plugin says is behind it.
type Runtime struct{ Name, Version string }

// NewV1 makes a client of a plugin. It dials when it is first called.
func NewV1(options Options) (*V1, error) {
	l, err := newLink(options)
	if err != nil {
		return nil, err
	}
	return &V1{link: l}, nil
}

// Version asks the plugin what it speaks, and fails unless that is v1beta1. Encrypt and Decrypt ask before the
// first call, until it was answered once.
func (v *V1) Version(ctx context.Context) (Runtime, error) {
	method, answer := kms.KeyManagementService_Version_FullMethodName, &kms.VersionResponse{}
	if err := v.link.call(ctx, method, &kms.VersionRequest{Version: versionOfV1}, answer, nil); err != nil {
		return Runtime{}, err
	}
	if answer.Version != versionOfV1 {
		return Runtime{}, v.link.breach(method, fmt.Errorf("version %s is not %s", quote(answer.Version, nil), versionOfV1))
	}
	v.known.Store(true)
	return Runtime{Name: answer.RuntimeName, Version: answer.RuntimeVersion}, nil
}

// Encrypt wraps a secret in 1 to [MaxCipherV1] bytes.
func (v *V1) Encrypt(ctx context.Context, plaintext secret.Bytes) (cipher []byte, err error) {
	if plaintext.Len() == 0 {
		return nil, fault.Newf(fault.Invalid, "kmsclient.Encrypt", "kms/"+v.link.options.Name, "there is nothing to encrypt")
	}
	if err := v.meet(ctx); err != nil {
		return nil, err
	}
	method, answer := kms.KeyManagementService_Encrypt_FullMethodName, &kms.EncryptResponse{}
	plaintext.Reveal(func(data []byte) {
		err = v.link.call(ctx, method, &kms.EncryptRequest{Version: versionOfV1, Plain: data}, answer, data)
	})
	if err != nil {
		return nil, err
	}
	if err := checkLength("ciphertext", len(answer.Cipher), MaxCipherV1); err != nil {
		return nil, v.link.breach(method, err)
	}
	return answer.Cipher, nil
}

// Decrypt unwraps what Encrypt of the same plugin gave.
func (v *V1) Decrypt(ctx context.Context, cipher []byte) (secret.Bytes, error) {
	if err := checkLength("ciphertext", len(cipher), MaxCipherV1); err != nil {
		return secret.Bytes{}, fault.New(fault.Corrupt, "kmsclient.Decrypt", "kms/"+v.link.options.Name, err)
	}
	if err := v.meet(ctx); err != nil {
		return secret.Bytes{}, err
	}
	method, answer := kms.KeyManagementService_Decrypt_FullMethodName, &kms.DecryptResponse{}
	if err := v.link.call(ctx, method, &kms.DecryptRequest{Version: versionOfV1, Cipher: cipher}, answer, nil); err != nil {
		return secret.Bytes{}, err
	}
	if len(answer.Plain) == 0 {
		return secret.Bytes{}, v.link.breach(method, errNoPlaintext)
	}
	return secret.Take(answer.Plain), nil
}

// meet asks for the version unless it is known.
func (v *V1) meet(ctx context.Context) error {
	if v.known.Load() {
		return nil
	}
	_, err := v.Version(ctx)
	return err
}

// Link tells one connection to the plugin's socket from the next: it is another number with each, and 0 before the first. While it is the same the
// same process answers.
func (v *V1) Link() uint64 { return v.link.dialled.Load() }

// Close ends calls that are under way and lets no more begin.
func (v *V1) Close() error { return v.link.close() }
