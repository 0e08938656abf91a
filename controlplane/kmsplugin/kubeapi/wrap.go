package kubeapi

import (
	"context"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keepgate/keepgate/controlplane/kmsplugin/kek"
	wrapv1 "github.com/keepgate/keepgate/proto/keepgate/wrap/v1"
	"github.com/keepgate/keepgate/shared/fault"
)

// The limits of the protocol.
const (
	maxKeyID      = 1024
	maxPlaintext  = 1024
	maxCiphertext = 1024
	maxUID        = 128 // as the control plane bounds it; an API server's has 36
)

// wrap wraps a secret under a key; an empty id is an API server that asks before any Status was given.
func (a *API) wrap(ctx context.Context, uid, id string, plaintext []byte) (ciphertext []byte, under string, err error) {
	if len(plaintext) == 0 || len(plaintext) > maxPlaintext {
		return nil, "", status.Errorf(codes.InvalidArgument, "the plaintext has %d bytes, not 1 to %d", len(plaintext), maxPlaintext)
	}
	if id == "" {
		return nil, "", status.Error(codes.Unavailable, "no key is known: ask for the status first")
	}
	a.kek.Used(id)
	answer, err := a.cp.Wrap(ctx, &wrapv1.WrapRequest{Uid: uid, KeyId: id, Plaintext: plaintext})
	if err == nil {
		err = kek.CheckWrapped(answer, id, plaintext)
	}
	if err != nil {
		return nil, "", a.failed(err)
	}
	a.kek.Works(id)
	return answer.Ciphertext, id, nil
}

// unwrap opens what wrap gave. Equal calls that wait at the same time are one, which names all of them; nothing is kept
// beyond them.
func (a *API) unwrap(ctx context.Context, uid, id string, ciphertext []byte) ([]byte, error) {
	if id == "" || len(id) > maxKeyID || !utf8.ValidString(id) {
		return nil, status.Errorf(codes.InvalidArgument, "the key_id has %d bytes, not 1 to %d of UTF-8", len(id), maxKeyID)
	}
	if len(ciphertext) == 0 || len(ciphertext) > maxCiphertext {
		return nil, status.Errorf(codes.InvalidArgument, "the ciphertext has %d bytes, not 1 to %d", len(ciphertext), maxCiphertext)
	}
	if len(uid) > maxUID || strings.ContainsFunc(uid, func(r rune) bool { return r <= ' ' || r > '~' || r == ';' }) {
		return nil, status.Errorf(codes.InvalidArgument, "the uid is longer than %d bytes, or not of letters, digits and signs", maxUID) // before others share a call with it
	}
	known, err := a.kek.Knows(ctx, id)
	if err != nil {
		return nil, a.failed(err)
	}
	if !known {
		return nil, status.Errorf(codes.NotFound, "key %.100q is none of this KEK's, or was retired", id)
	}
	a.kek.Used(id)
	plaintext, err := a.flights.join(ctx, flightKey{id, string(ciphertext)}, uid, func(ctx context.Context, uids []string) ([]byte, error) {
		answer, err := a.cp.Unwrap(ctx, &wrapv1.UnwrapRequest{Uid: uids[0], Also: uids[1:], KeyId: id, Ciphertext: ciphertext})
		if err == nil && len(answer.Plaintext) == 0 {
			err = fault.Newf(fault.Corrupt, "kubeapi.Decrypt", "", "it decrypts to nothing")
		}
		if err != nil {
			return nil, err
		}
		return answer.Plaintext, nil
	})
	if err != nil {
		return nil, a.failed(err)
	}
	a.kek.Works(id)
	return plaintext, nil
}

// failed turns an error into what gRPC says, and has the control plane be looked at where it was away.
func (a *API) failed(err error) error {
	code := codes.Internal
	switch fault.KindOf(err) {
	case fault.Invalid, fault.Corrupt:
		code = codes.InvalidArgument
	case fault.NotFound:
		code = codes.NotFound
	case fault.Conflict:
		code = codes.FailedPrecondition
	case fault.Denied:
		code = codes.PermissionDenied
	case fault.Unavailable:
		code = codes.Unavailable
		a.kek.Doubt()
	}
	return status.Error(code, fault.Text(err))
}
