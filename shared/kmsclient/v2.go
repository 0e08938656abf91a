package kmsclient

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/google/uuid"
	kms "k8s.io/kms/apis/v2"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

// V2 is a plugin that speaks KMS v2. It is safe for concurrent use.
type V2 struct {
	link    *link
	version atomic.Pointer[string] // of the first good status
}

// Status is what a healthy plugin says of itself.
type Status struct {
	Version string
	KeyID   string // of the key that encrypts now: public, and the authority on it
}

// Wrapped is a secret as the plugin encrypted it, with what it needs to decrypt it. None of it is secret.
type Wrapped struct {
	KeyID       string
	Ciphertext  []byte
	Annotations map[string][]byte
}

// NewV2 makes a client of a plugin. It dials when it is first called.
func NewV2(options Options) (*V2, error) {
	l, err := newLink(options)
	if err != nil {
		return nil, err
	}
	return &V2{link: l}, nil
}

// Status asks the plugin how it is. It fails unless the plugin answers that it is well, by the protocol: a version
// that is "v2" or "v2beta1" and stays what it was at the first good answer, healthz "ok", and a key_id. A key_id of
// the wrong length is [ErrNoKeyID] or [ErrLongKeyID].
func (v *V2) Status(ctx context.Context) (Status, error) {
	method, answer := kms.KeyManagementService_Status_FullMethodName, &kms.StatusResponse{}
	if err := v.link.call(ctx, method, &kms.StatusRequest{}, answer, nil); err != nil {
		return Status{}, err
	}
	if answer.Version != "v2" && answer.Version != "v2beta1" {
		return Status{}, v.link.breach(method, fmt.Errorf("version %s is neither v2 nor v2beta1", quote(answer.Version, nil)))
	}
	if first := v.version.Load(); first != nil && *first != answer.Version {
		return Status{}, v.link.failure(method, fmt.Errorf("the plugin's version was %s and is %s: reload the configuration, or restart, to go on with another one", *first, answer.Version))
	}
	if answer.Healthz != "ok" {
		return Status{}, v.link.failure(method, fmt.Errorf("the plugin says that it is not well (%s): see its log", quote(answer.Healthz, nil)))
	}
	if err := checkKeyID(answer.KeyId); err != nil {
		return Status{}, v.link.breach(method, err)
	}
	if !v.version.CompareAndSwap(nil, &answer.Version) && *v.version.Load() != answer.Version {
		return Status{}, v.link.breach(method, fmt.Errorf("it answers with two versions at once"))
	}
	return Status{Version: answer.Version, KeyID: answer.KeyId}, nil
}

// Encrypt wraps a secret. The caller compares the key_id of what comes back with that of Status, and throws it away
// when they differ.
func (v *V2) Encrypt(ctx context.Context, plaintext secret.Bytes) (wrapped Wrapped, err error) {
	method, answer := kms.KeyManagementService_Encrypt_FullMethodName, &kms.EncryptResponse{}
	if plaintext.Len() == 0 {
		return Wrapped{}, fault.Newf(fault.Invalid, "kmsclient.Encrypt", "kms/"+v.link.options.Name, "there is nothing to encrypt")
	}
	plaintext.Reveal(func(data []byte) {
		err = v.link.call(ctx, method, &kms.EncryptRequest{Plaintext: data, Uid: uuid.NewString()}, answer, data)
	})
	if err != nil {
		return Wrapped{}, err
	}
	wrapped = Wrapped{KeyID: answer.KeyId, Ciphertext: answer.Ciphertext, Annotations: answer.Annotations}
	if err := wrapped.check(); err != nil {
		return Wrapped{}, v.link.breach(method, err)
	}
	return wrapped, nil
}

// Decrypt unwraps what Encrypt of the same plugin gave. Nobody can say here whether it is the right secret: the
// caller proves it.
func (v *V2) Decrypt(ctx context.Context, wrapped Wrapped) (secret.Bytes, error) {
	if err := wrapped.check(); err != nil {
		return secret.Bytes{}, fault.New(fault.Corrupt, "kmsclient.Decrypt", "kms/"+v.link.options.Name, err)
	}
	method, answer := kms.KeyManagementService_Decrypt_FullMethodName, &kms.DecryptResponse{}
	request := &kms.DecryptRequest{Ciphertext: wrapped.Ciphertext, Uid: uuid.NewString(), KeyId: wrapped.KeyID, Annotations: wrapped.Annotations}
	if err := v.link.call(ctx, method, request, answer, nil); err != nil {
		return secret.Bytes{}, err
	}
	if len(answer.Plaintext) == 0 {
		return secret.Bytes{}, v.link.breach(method, errNoPlaintext)
	}
	return secret.Take(answer.Plaintext), nil
}

// Close ends calls that are under way and lets no more begin.
func (v *V2) Close() error { return v.link.close() }
