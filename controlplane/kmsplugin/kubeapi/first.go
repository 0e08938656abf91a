package kubeapi

//lint:file-ignore SA1019 version 1 of the protocol is deprecated, and still spoken by API servers that have to be moved away from it

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v1 "k8s.io/kms/apis/v1beta1"

	"github.com/keepgate/keepgate/shared/version"
)

// first is version 1, which Kubernetes has deprecated. Its calls have no UID: one is made for the journal.
type first struct {
	v1.UnsafeKeyManagementServiceServer
	api *API
}

const versionOne = "v1beta1"

func checkVersion(asked string) error {
	if asked != versionOne {
		return status.Errorf(codes.InvalidArgument, "version %.20q is asked for, and %s is spoken", asked, versionOne)
	}
	return nil
}

// Version says which protocol this is.
func (f *first) Version(_ context.Context, request *v1.VersionRequest) (*v1.VersionResponse, error) {
	if err := checkVersion(request.Version); err != nil {
		return nil, err
	}
	return &v1.VersionResponse{Version: versionOne, RuntimeName: "keepgate-kms", RuntimeVersion: version.Text}, nil
}

// Encrypt wraps under the current key and puts its name before the ciphertext.
func (f *first) Encrypt(ctx context.Context, request *v1.EncryptRequest) (*v1.EncryptResponse, error) {
	if err := checkVersion(request.Version); err != nil {
		return nil, err
	}
	verdict := f.api.kek.Verdict()
	if verdict.IsLost { // there is no Status that could stop writes
		return nil, status.Error(codes.Unavailable, verdict.Trouble)
	}
	ciphertext, id, err := f.api.wrap(ctx, "v1-"+uuid.NewString(), verdict.Current.ID, request.Plain)
	if err != nil {
		return nil, err
	}
	return &v1.EncryptResponse{Cipher: appendCipher(nil, id, ciphertext)}, nil
}

// Decrypt unwraps what Encrypt gave, and nothing else.
func (f *first) Decrypt(ctx context.Context, request *v1.DecryptRequest) (*v1.DecryptResponse, error) {
	if err := checkVersion(request.Version); err != nil {
		return nil, err
	}
	id, ciphertext, err := parseCipher(request.Cipher)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	plaintext, err := f.api.unwrap(ctx, "v1-"+uuid.NewString(), id, ciphertext)
	if err != nil {
		return nil, err
	}
	return &v1.DecryptResponse{Plain: plaintext}, nil
}

// cipherVersion is the first byte of a cipher of version 1; the package doc has the rest.
const cipherVersion = 0x01

func appendCipher(to []byte, id string, ciphertext []byte) []byte {
	to = append(to, cipherVersion)
	to = binary.BigEndian.AppendUint16(to, uint16(len(id))) // a key_id has at most 1024 bytes
	to = append(to, id...)
	return append(to, ciphertext...)
}

var errNotOurs = errors.New("this plugin did not encrypt this: the cipher has another form")

func parseCipher(cipher []byte) (id string, ciphertext []byte, err error) {
	if len(cipher) < 3 || cipher[0] != cipherVersion {
		return "", nil, errNotOurs
	}
	length, rest := int(binary.BigEndian.Uint16(cipher[1:3])), cipher[3:]
	if length == 0 || length > maxKeyID || len(rest) <= length {
		return "", nil, errNotOurs
	}
	return string(rest[:length]), rest[length:], nil
}
