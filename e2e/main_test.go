// Package e2e_test holds the scenarios: what Keepgate promises, tried on the real binaries as processes of their
// own, over real sockets, files and databases.
package e2e_test

import (
	"flag"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
	"github.com/keepgate/keepgate/e2e/pgtest"
)

// atOnce is how many scenarios run side by side: they wait for time and for processes more than they work.
const atOnce = "5"

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", atOnce); err != nil {
		panic(err) // the testing package has no such flag any more
	}
	pgtest.Main(m, harness.Discard)
}
