package secretbackend_test

import (
	"testing"

	"github.com/keepgate/keepgate/shared/secretbackend"
)

func TestListed(t *testing.T) {
	t.Parallel()
	list := []string{"vault.example", "*.Team.example", "10.0.0.1", "dotted.example.", "::1"}
	for host, want := range map[string]bool{
		"vault.example": true, "VAULT.example": true, "vault.example.": true, "a.team.example": true, "a.b.team.example.": true, "10.0.0.1": true, "dotted.example": true,
		"dotted.example.": true, "::1": true,
		"": false, ".": false, "example": false, "a.vault.example": false, "team.example": false, ".team.example": false, "ateam.example": false, "vault.example.evil": false,
		"10.0.0.10": false, "*.team.example": true, // which no host is
	} {
		if got := secretbackend.Listed(list, host); got != want {
			t.Errorf("Listed(%q) = %t", host, got)
		}
	}
	for _, nobody := range [][]string{nil, {""}, {"*"}, {"*."}, {"."}} {
		for _, host := range []string{"vault.example", "localhost", "10.0.0.1"} {
			if secretbackend.Listed(nobody, host) {
				t.Errorf("%q lists %s", nobody, host)
			}
		}
	}
}
