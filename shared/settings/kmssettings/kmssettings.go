// Package kmssettings declares what keepgate-kms can be told at its start. Package settings reads it; the plugin's own
// app gives it meaning.
package kmssettings

import (
	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/settings/values"
)

// KMS is every setting of keepgate-kms.
type KMS struct {
	Process settings.Process `section:"Process"`
	Plugin  Plugin           `section:"Kubernetes"`
	Cluster Cluster          `section:"Control plane"`

	StatusListen values.Listen `key:"status_listen" default:"127.0.0.1:8101" clear:"true" help:"Where health, readiness and metrics are served."`
}

// Plugin is the side that the API server sees.
type Plugin struct {
	Listen string `key:"kms_listen" default:"unix:///run/keepgate/kms.sock" help:"The socket that the API server's encryption configuration names as endpoint: unix:///path, or unix:///@name for an abstract one, which no file mode guards."`
	V1     bool   `key:"kms_v1" default:"off" help:"Serve KMS v1 (v1beta1) on the same socket too, for what was written under it; Kubernetes has deprecated it."`
}

// Cluster is the plugin's end of the connection to the control plane.
type Cluster struct {
	settings.Cluster
	ControlPlane []string `key:"cluster_control_plane" default:"127.0.0.1:8005" help:"The nodes of the control plane, as host:port; with more than one they are tried in random order, and one that fails is left for another."`
	ServerName   string   `key:"cluster_server_name" help:"The name that the control plane's certificate has to bear; empty takes the host of each node of cluster_control_plane."`
}
