package prometheus_test

import (
	"testing"

	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
	"github.com/keepgate/keepgate/dataplane/plugin/prometheus"
)

func TestContract(t *testing.T) {
	plugintest.Suite(t, plugintest.Plugin{
		Kind:      prometheus.New(nil),
		Config:    `{"status_code_metrics":true,"latency_metrics":true,"bandwidth_metrics":true,"per_consumer":true}`,
		Protocols: []string{"grpc", "grpcs", "http", "https", "tcp", "tls", "udp"},
	})
}
