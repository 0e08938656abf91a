package app

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
)

// A key that was mistyped is taken for a path, and is a secret all the same.
func TestAMistypedPrivateKeyIsNotTold(t *testing.T) {
	t.Parallel()
	const canary = "MIIEvgIBADANBgkqhkiG9w0BAQEFAASC"
	for name, setting := range map[string]string{
		"base64 of DER": canary,
		"a broken head": "---BEGIN PRIVATE KEY-----\n" + canary + "\n-----END PRIVATE KEY-----\n",
		"a long one":    strings.Repeat(canary, 200),
		"with a zero":   canary + "\x00",
	} {
		_, err := newCourier(cpsettings.Keyring{PrivateKey: secret.Take([]byte(setting))})
		if err == nil || strings.Contains(err.Error(), canary) || !strings.Contains(err.Error(), "keyring_private_key") {
			t.Errorf("%s: the error tells of the key, or there is none", name)
		}
	}
	if _, err := newCourier(cpsettings.Keyring{PrivateKey: secret.Take([]byte("/not/there"))}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a path that leads nowhere: %v", err)
	}
}
