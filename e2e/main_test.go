// Package e2e_test holds the scenarios: what Keepgate promises, tried on the real binaries as processes of their
// own, over real sockets, files and databases.
package e2e_test

import (
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
	"github.com/keepgate/keepgate/e2e/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m, harness.Discard) }
