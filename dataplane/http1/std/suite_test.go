package std_test

import (
	"testing"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/http1test"
	"github.com/keepgate/keepgate/dataplane/http1/std"
)

func TestSuite(t *testing.T) {
	t.Parallel()
	http1test.Run(t, func(_ testing.TB, handler exchange.Handler) http1test.Engine {
		return std.New(handler, std.Options{})
	})
}
