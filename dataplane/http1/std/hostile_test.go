package std_test

import (
	"testing"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/http1test"
	"github.com/keepgate/keepgate/dataplane/http1/std"
)

// TestHostile holds what the standard server makes of the requests that our own engine refuses. Where it
// says 200 it has settled on one reading and the origin gets that.
func TestHostile(t *testing.T) {
	t.Parallel()
	cases := append(http1test.ReadHostile(t, "testdata/hostile.txt"), http1test.Oversized()...)
	http1test.Factory(func(_ testing.TB, handler exchange.Handler) http1test.Engine {
		return std.New(handler, std.Options{})
	}).Run(t, cases)
}
