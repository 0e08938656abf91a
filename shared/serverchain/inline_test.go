package serverchain_test

import (
	"encoding/base64"
	"testing"

	"github.com/keepgate/keepgate/shared/serverchain"
)

func TestInlinePEM(t *testing.T) {
	t.Parallel()
	const text = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
	encoded := base64.StdEncoding.EncodeToString([]byte(text))
	for given, want := range map[string]string{
		text: text, "# mine\n" + text: "# mine\n" + text, encoded: text, encoded[:8] + "\n" + encoded[8:] + "\n": text,
		"": "", "system": "", "/etc/ssl/ca.pem": "", "ca": "", encoded[:21]: "", encoded + " ": "", base64.StdEncoding.EncodeToString([]byte("text")): "", "-----END": "",
	} {
		if got := serverchain.InlinePEM(given); string(got) != want || (got == nil) != (want == "") {
			t.Errorf("InlinePEM(%q) = %q, want %q", given, got, want)
		}
	}
}
