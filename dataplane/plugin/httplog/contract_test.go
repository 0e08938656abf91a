package httplog_test

import (
	"net"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/plugin/httplog"
	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
)

// silent is the address of a server that never answers, so that nothing but requests allocates.
func silent(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().String()
}

func TestContract(t *testing.T) {
	log := plugintest.NewLog()
	plugintest.Suite(t, plugintest.Plugin{
		Kind: httplog.New(httplog.Options{Log: log.Logger(), Drain: 10 * time.Millisecond}), Log: log,
		Config: `{"http_endpoint":"http://user:s3cret@` + silent(t) + `/in","headers":{"x-token":"an-other-s3cret"},"queue":{"max_entries":10}}`,
	})
}
