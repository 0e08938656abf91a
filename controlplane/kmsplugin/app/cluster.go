package app

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/keepgate/keepgate/controlplane/kmsplugin/backend"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/kmsclient"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/grpccreds"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/trust"
	"github.com/keepgate/keepgate/shared/settings/kmssettings"
)

const op = "app.Run"

const issueHint = "; issue one beside the cluster's authority: keepgate-cp certs issue NAME --role kms, where NAME is the KEK's, or KEK.HOST"

// clusterSource reads who the plugin is, and refuses what the control plane would.
func clusterSource(c kmssettings.Cluster, log *slog.Logger) (*mtls.Source, error) {
	if err := checkAddresses(c.ControlPlane); err != nil {
		return nil, fault.New(fault.Invalid, op, "cluster_control_plane", err)
	}
	mode := trust.Mode(c.MTLS)
	if mode == trust.Shared {
		return nil, fault.Newf(fault.Invalid, op, "cluster_mtls", "shared: a certificate that all have names no KEK; give this plugin one of its own, and use pki on both sides")
	}
	if c.Cert == "" || c.Key == "" || c.CACert == "" {
		return nil, fault.Newf(fault.Invalid, op, "cluster_cert", "set cluster_cert, cluster_cert_key and cluster_ca_cert%s", issueHint)
	}
	// As for data planes: the next authority of the cluster is believed by the signature of the one that is known.
	source, err := mtls.OpenWith(mtls.Files{Cert: c.Cert, Key: c.Key, CA: c.CACert, CRL: c.CRL},
		mtls.Options{Mode: mode, Role: identity.KMS, CrossSigned: true, Log: log})
	if err != nil {
		return nil, fmt.Errorf("reading this plugin's certificate: %w", err)
	}
	if role := source.Identity().Role; role != identity.KMS {
		return nil, fault.Newf(fault.Invalid, op, "cluster_cert", "it is a certificate of role %s%s", role, issueHint)
	}
	return source, nil
}

// kekName is the KEK that a certificate stands for: its name up to the first dot, so that each of a cluster's API servers
// can have a certificate of its own.
func kekName(id identity.Identity) string {
	name, _, _ := strings.Cut(id.Name, ".")
	return name
}

func newBackend(c kmssettings.Cluster, source *mtls.Source, options backend.Options) *backend.Backend {
	options.Identity = func() string { return source.Identity().Serial }
	options.Believe = func(cs tls.ConnectionState) error { return source.Check(cs, identity.ControlPlane) }
	var nodes []backend.Endpoint
	for _, address := range c.ControlPlane {
		nodes = append(nodes, backend.Endpoint{Address: address, Credentials: grpccreds.Client(source, serverName(c, address), identity.ControlPlane)})
	}
	return backend.New(nodes, options)
}

// serverName is the name that the certificate of the node at an address has to bear.
func serverName(c kmssettings.Cluster, address string) string {
	if c.ServerName != "" {
		return c.ServerName
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}

func checkAddresses(addresses []string) error {
	if len(addresses) == 0 {
		return errors.New("name at least one node of the control plane, as cp.example:8005")
	}
	for i, address := range addresses {
		host, port, err := net.SplitHostPort(address)
		number, portErr := strconv.ParseUint(port, 10, 16)
		if err != nil || host == "" || strings.ContainsAny(host, "/@ ") || portErr != nil || number == 0 {
			return fmt.Errorf("%q is not host:port, as cp.example:8005", address)
		}
		if slices.Contains(addresses[:i], address) {
			return fmt.Errorf("%s is named twice", address)
		}
	}
	return nil
}

// Check finds what would stop a start: it reads the certificates, and opens and dials nothing.
func Check(s kmssettings.KMS) error {
	var listen error
	if err := kmsclient.CheckEndpoint(s.Plugin.Listen); err != nil {
		listen = fault.New(fault.Invalid, op, "kms_listen", err)
	}
	_, cluster := clusterSource(s.Cluster, slog.New(slog.DiscardHandler))
	return errors.Join(listen, cluster)
}
