package verifier_test

import (
	"strings"
	"testing"

	"github.com/keepgate/keepgate/shared/verifier"
)

func TestANewHashVerifies(t *testing.T) {
	t.Parallel()
	phc := verifier.HashPassword([]byte("correct horse"))
	if !strings.HasPrefix(phc, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatalf("unexpected form of a hash: %.30s", phc)
	}
	for password, want := range map[string]bool{"correct horse": true, "correct horsf": false, "": false} {
		if right, err := verifier.VerifyPassword(phc, []byte(password)); err != nil || right != want {
			t.Errorf("VerifyPassword(%q) = %v, %v, want %v", password, right, err, want)
		}
	}
}
