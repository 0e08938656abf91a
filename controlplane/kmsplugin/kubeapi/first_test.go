package kubeapi_test

//lint:file-ignore SA1019 version 1 of the protocol is deprecated, and still spoken by API servers that have to be moved away from it

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v1 "k8s.io/kms/apis/v1beta1"

	"github.com/keepgate/keepgate/controlplane/kmsplugin/kek"
	"github.com/keepgate/keepgate/controlplane/kmsplugin/kubeapi"
)

func TestVersionOneIsOffUnlessItIsAskedFor(t *testing.T) {
	t.Parallel()
	off := start(t, kubeapi.Options{}, kek.Options{}).one(t)
	if _, err := off.Version(t.Context(), &v1.VersionRequest{Version: "v1beta1"}); status.Code(err) != codes.Unimplemented {
		t.Errorf("Version = %v", err)
	}
	p := start(t, kubeapi.Options{V1: true}, kek.Options{})
	api := p.one(t)
	said, err := api.Version(t.Context(), &v1.VersionRequest{Version: "v1beta1"})
	if err != nil || said.Version != "v1beta1" || said.RuntimeName == "" || said.RuntimeVersion == "" {
		t.Errorf("Version = %v, %v", said, err)
	}
	for _, version := range []string{"", "v1", "v2"} {
		_, one := api.Version(t.Context(), &v1.VersionRequest{Version: version})
		_, two := api.Encrypt(t.Context(), &v1.EncryptRequest{Version: version, Plain: []byte("x")})
		_, three := api.Decrypt(t.Context(), &v1.DecryptRequest{Version: version, Cipher: []byte("x")})
		for _, err := range []error{one, two, three} {
			if status.Code(err) != codes.InvalidArgument {
				t.Errorf("version %q: %v", version, err)
			}
		}
	}
}

// The name of the key travels in the cipher, so that what a former key encrypted opens.
func TestVersionOneOverARotation(t *testing.T) {
	t.Parallel()
	p := start(t, kubeapi.Options{V1: true}, kek.Options{})
	api := p.one(t)
	var ciphers [][]byte
	for range 3 {
		sealed, err := api.Encrypt(t.Context(), &v1.EncryptRequest{Version: "v1beta1", Plain: []byte("a data key")})
		if err != nil {
			t.Fatal(err)
		}
		ciphers = append(ciphers, sealed.Cipher)
		p.kek.Rotate(t)
		if err := p.follower.Ask(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for i, cipher := range ciphers {
		opened, err := api.Decrypt(t.Context(), &v1.DecryptRequest{Version: "v1beta1", Cipher: cipher})
		if err != nil || string(opened.Plain) != "a data key" {
			t.Errorf("cipher %d: %v", i, err)
		}
	}
	mixed := append(append([]byte{}, ciphers[0][:3+len(p.kek.Keys()[0].ID)]...), ciphers[1][3+len(p.kek.Keys()[1].ID):]...)
	for name, cipher := range map[string][]byte{"nothing": nil, "the key of another": mixed, "cut": ciphers[0][:20], "another version": append([]byte{2}, ciphers[0][1:]...)} {
		if _, err := api.Decrypt(t.Context(), &v1.DecryptRequest{Version: "v1beta1", Cipher: cipher}); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: Decrypt = %v", name, err)
		}
	}
}
