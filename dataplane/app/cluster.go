package app

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/keepgate/keepgate/dataplane/localstore"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/trust"
	"github.com/keepgate/keepgate/shared/settings/dpsettings"
)

// clusterSource reads who this node is, and refuses what could never link. The local store's keys come from it, so
// that a certificate of another role is refused before the store is touched.
func clusterSource(c dpsettings.Cluster, log *slog.Logger) (*mtls.Source, error) {
	const op = "app.Run"
	if err := checkAddresses(c.ControlPlane); err != nil {
		return nil, fault.New(fault.Invalid, op, "cluster_control_plane", err)
	}
	mode := trust.Mode(c.MTLS)
	switch {
	case mode == trust.Shared && (c.Cert == "" || c.Key == ""):
		return nil, fault.Newf(fault.Invalid, op, "cluster_cert", "with cluster_mtls = shared set cluster_cert and cluster_cert_key to the very pair that the control plane has")
	case mode != trust.Shared && sharedPair(c):
		return nil, fault.Newf(fault.Invalid, op, "cluster_mtls", "the pair in cluster_cert is of keepgate-cp hybrid gen_cert: set cluster_mtls = shared")
	case mode != trust.Shared && (c.Cert == "" || c.Key == "" || c.CACert == ""):
		return nil, fault.Newf(fault.Invalid, op, "cluster_cert",
			"set cluster_cert, cluster_cert_key and cluster_ca_cert%s", requestHint)
	}
	// The next authority of the cluster is believed by the signature of the one that this node knows: it may have been
	// away while the one replaced the other.
	source, err := mtls.OpenWith(mtls.Files{Cert: c.Cert, Key: c.Key, CA: c.CACert, CRL: c.CRL},
		mtls.Options{Mode: mode, Role: identity.DataPlane, CrossSigned: true, Log: log})
	if err != nil {
		hint := ""
		if absent(c.Cert) || absent(c.Key) {
			hint = requestHint
		}
		return nil, fmt.Errorf("reading this node's certificate%s: %w", hint, err)
	}
	if role := source.Identity().Role; role != identity.DataPlane {
		return nil, fault.Newf(fault.Invalid, op, "cluster_cert", "it is a certificate of role %s; issue one of role data-plane", role)
	}
	return source, nil
}

// sharedPair says that the files hold a pair that all nodes have, and not one of an authority.
func sharedPair(c dpsettings.Cluster) bool {
	if c.Cert == "" || c.Key == "" {
		return false
	}
	source, err := mtls.OpenWith(mtls.Files{Cert: c.Cert, Key: c.Key}, mtls.Options{Mode: trust.Shared, Role: identity.DataPlane})
	return err == nil && bytes.Equal(source.Certificate().RawIssuer, source.Certificate().RawSubject)
}

const requestHint = " (make a key and a request here with: keepgate-dp certs request)"

func absent(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

func checkAddresses(addresses []string) error {
	if len(addresses) == 0 {
		return errors.New("name at least one node of the control plane, as cp.example:8005")
	}
	for i, address := range addresses {
		if err := checkAddress(address); err != nil {
			return err
		}
		if slices.Contains(addresses[:i], address) {
			return fmt.Errorf("%s is named twice", address)
		}
	}
	return nil
}

func checkAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	number, portErr := strconv.ParseUint(port, 10, 16)
	if err != nil || host == "" || strings.ContainsAny(host, "/@ ") || portErr != nil || number == 0 {
		return fmt.Errorf("%q is not host:port, as cp.example:8005", address)
	}
	return nil
}

// adviseOnKeys says what to do about a store that another key has sealed.
func adviseOnKeys(report localstore.Report, log *slog.Logger) {
	lacking := func(scoped bool) bool {
		return slices.ContainsFunc(report.Damage, func(d localstore.Damage) bool { return d.Kind == fault.Unavailable && d.Scoped == scoped })
	}
	if lacking(true) {
		log.Error("local store is sealed by a scoped key that is given nowhere and was not remembered; give the key of that id again (keepgate-dp store status names it), or wait for the control plane",
			"store", report.Status.String())
	}
	if lacking(false) {
		log.Error("local store is sealed by another cluster key; set cluster_cert_key_previous to the key file before the renewal, or put this node's own key back",
			"store", report.Status.String())
	}
}
