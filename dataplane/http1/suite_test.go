package http1_test

import (
	"testing"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1"
	"github.com/keepgate/keepgate/dataplane/http1/http1test"
)

func TestSuite(t *testing.T) {
	t.Parallel()
	http1test.Run(t, func(_ testing.TB, handler exchange.Handler) http1test.Engine {
		return http1.New(handler, http1.Options{})
	})
}
