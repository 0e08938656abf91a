package vaulttest

import (
	"os"
	"testing"
)

// Target is a server to test against.
type Target struct {
	Address, Token, CAFile string
	Server                 *Server // nil: a real one, which nobody may seal or break
}

// Each runs a test against a server of this package, and against the real one that the environment names, by a token that may
// mount stores and write policies: KEEPGATE_TEST_VAULT_ADDR, KEEPGATE_TEST_VAULT_TOKEN and, for its authority, KEEPGATE_TEST_VAULT_CACERT.
func Each(t *testing.T, test func(t *testing.T, target Target)) {
	t.Helper()
	t.Run("test server", func(t *testing.T) {
		t.Parallel()
		s := Start(t)
		test(t, Target{s.URL, s.Root, s.CAFile, s})
	})
	address := os.Getenv("KEEPGATE_TEST_VAULT_ADDR")
	if address == "" {
		return
	}
	t.Run("real server", func(t *testing.T) {
		t.Parallel()
		test(t, Target{address, os.Getenv("KEEPGATE_TEST_VAULT_TOKEN"), os.Getenv("KEEPGATE_TEST_VAULT_CACERT"), nil})
	})
}
