package rest_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/shared/fault"
)

func TestUnavailableNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	why := errors.New("the reason")
	tests := map[string]struct {
		subject string
		want    map[string]any
	}{
		"a key": {"key/8zgITLQh", map[string]any{
			"name": "key unavailable", "key_id": "8zgITLQh",
			"message": "key 8zgITLQh of the keyring is not available on this node: the reason; GET /keyring shows what is missing and what brings it back",
		}},
		"a plugin":     {"kms/vault-foo", map[string]any{"name": "KMS plugin unavailable", "kms": "vault-foo", "message": "the reason"}},
		"the key file": {"keyring_local_key_file", map[string]any{"name": "key file unavailable", "message": "keyring_local_key_file: the reason"}},
		"the database": {"", map[string]any{"name": "unavailable", "message": "the database cannot be used now; try again later"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, rest.Unavailable(fault.New(fault.Unavailable, "op", test.subject, why))); diff != "" {
				t.Error(diff)
			}
		})
	}
}
