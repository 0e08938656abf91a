package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/keepgate/keepgate/controlplane/admin"
	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/controlplane/doctor"
	"github.com/keepgate/keepgate/controlplane/doctor/finding"
	"github.com/keepgate/keepgate/controlplane/keyring/kms"
	"github.com/keepgate/keepgate/controlplane/keyring/vault"
	"github.com/keepgate/keepgate/controlplane/members"
	"github.com/keepgate/keepgate/controlplane/peer/bus"
	"github.com/keepgate/keepgate/controlplane/store/postgres/examine"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/proof"
	"github.com/keepgate/keepgate/shared/process"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
)

// Doctor looks at everything that a control plane of these settings needs, one step after the other. It changes nothing, and may run
// beside the control plane.
func Doctor(ctx context.Context, s cpsettings.ControlPlane) []finding.Finding {
	d := &doctoring{settings: s}
	if at, err := process.Look(process.Place{Prefix: s.Process.Prefix, Name: "keepgate-cp"}); err == nil {
		d.running = at.Running
	}
	var findings []finding.Finding
	for _, area := range []func(context.Context) []finding.Finding{
		d.database, d.clusterCertificates, d.peerCertificates, d.nats, d.keyring, d.providers, doctor.Memory, d.adminAPI, d.sockets, d.join,
	} {
		findings = append(findings, area(ctx)...)
	}
	return findings
}

type doctoring struct {
	settings cpsettings.ControlPlane
	running  bool
	reached  bool // the database
	unsound  bool // the cluster certificates
}

func one(ctx context.Context, area, step string, do func(context.Context) finding.Result) []finding.Finding {
	return finding.Run(ctx, area, []finding.Step{{Name: step, Do: do}})
}

func (d *doctoring) database(ctx context.Context) []finding.Finding {
	if d.settings.Database.Engine == "sqlite" {
		return one(ctx, "database", "sqlite", d.sqlite)
	}
	config, err := Postgres(d.settings.Database.Postgres)
	if err == nil {
		err = checkTLS(d.settings.Database)
	}
	if err != nil && config.Server.Check() == nil && len(config.Server.Hosts) == 0 {
		return one(ctx, "PostgreSQL", "settings", func(context.Context) finding.Result {
			return finding.Bad(fault.Text(err), "mend that setting as it says")
		})
	}
	findings := examine.Server(ctx, "PostgreSQL", config)
	d.reached = finding.Count(findings, finding.Wrong) == 0
	standby, err := replica(d.settings.Database.Postgres, d.settings.Database.Replica)
	switch {
	case err != nil:
		findings = append(findings, one(ctx, "PostgreSQL for lists", "settings", func(context.Context) finding.Result {
			return finding.Bad(fault.Text(err), "mend that setting as it says")
		})...)
	case standby != nil:
		findings = append(findings, examine.Replica(ctx, "PostgreSQL for lists", config, *standby)...)
	}
	return findings
}

func (d *doctoring) sqlite(ctx context.Context) finding.Result {
	path := d.settings.Database.SQLitePath
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return finding.Fine("%s is not there yet; the first start makes it", path)
	}
	if err != nil {
		return finding.Bad(err.Error(), "let the user that runs keepgate-cp reach "+path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return finding.Bad(fmt.Sprintf("others can get at %s (mode %04o)", path, mode), "chmod 600 "+path)
	}
	store, err := OpenStore(ctx, d.settings, true)
	if err != nil {
		return finding.Bad(fault.Text(err), "let the user that runs keepgate-cp read "+path+", or put a backup back")
	}
	defer func() { _ = store.Close() }() // only read from
	schema, err := store.Status(ctx)
	if err != nil {
		return finding.Bad(fault.Text(err), "put a backup of "+path+" back")
	}
	d.reached = true
	if !schema.Current() && !schema.First() {
		return finding.Fine("%s: version %d; the next start migrates it to %d", path, schema.Stored, schema.Known)
	}
	return finding.Fine("%s: version %d", path, schema.Stored)
}

// clusterFiles are those of cluster_cert; not ok when none are set.
func (d *doctoring) clusterFiles() (files mtls.Files, ok bool) {
	return clusterFiles(d.settings.Cluster.Cluster)
}

func (d *doctoring) clusterCertificates(ctx context.Context) []finding.Finding {
	const area = "cluster certificates"
	files, ok := d.clusterFiles()
	if !ok {
		return one(ctx, area, "settings", func(context.Context) finding.Result {
			return finding.Beware("cluster_cert is not set: no data plane can connect", "keepgate-cp certs init --with-control-plane, and set cluster_cert, cluster_cert_key, cluster_ca_cert and cluster_crl")
		})
	}
	findings := doctor.Certificates(ctx, doctor.Cluster{
		Area: area, Prefix: "cluster", Files: files, Options: clusterOptions(d.settings.Cluster, slog.New(slog.DiscardHandler)),
	})
	d.unsound = finding.Count(findings, finding.Wrong) > 0
	return findings
}

// ownPeer are the files that a node makes for itself when it is given none.
func (d *doctoring) ownPeer() mtls.Files {
	dir := filepath.Join(d.settings.Process.Prefix, "peer")
	paths := certs.PathsIn(dir)
	return mtls.Files{Cert: filepath.Join(dir, "node.crt"), Key: filepath.Join(dir, "node.key"), CA: paths.CA, CRL: paths.CRL}
}

func (d *doctoring) peerCertificates(ctx context.Context) []finding.Finding {
	const area = "peer certificates"
	files, given := peerFiles(d.settings)
	if cluster, _ := d.clusterFiles(); given && files == cluster {
		return nil // told already
	}
	if !given {
		if d.settings.Database.Engine == "sqlite" {
			return nil // there are no peers
		}
		if files = d.ownPeer(); !exists(files.Cert) {
			return one(ctx, area, "settings", func(context.Context) finding.Result {
				return finding.Beware("none are set: the first start makes an authority of this node's own, which no other node has",
					"for several nodes, set peer_cert, peer_cert_key and peer_ca_cert")
			})
		}
	}
	return doctor.Certificates(ctx, doctor.Cluster{Area: area, Prefix: "peer", Files: files})
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (d *doctoring) nats(ctx context.Context) []finding.Finding {
	s := d.settings.Peers
	if d.settings.Database.Engine == "sqlite" {
		return nil // nobody to speak to
	}
	config := externalNATS(s)
	switch {
	case len(s.URL) > 0:
		return bus.Examine(ctx, config)
	case s.ClusterListen == "" || s.ClusterListen == "off":
		return one(ctx, "NATS", "settings", func(context.Context) finding.Result {
			return finding.Beware("nats_cluster_listen = off: nodes cannot give each other keys", "set nats_cluster_listen, or nats_url, unless this is the only node")
		})
	}
	source, err := d.source()
	if err != nil {
		return one(ctx, "NATS (embedded)", "certificate", func(context.Context) finding.Result { return finding.Because("the peer certificates") })
	}
	routes := s.ClusterRoutes
	if len(routes) == 0 && !d.reached {
		return one(ctx, "NATS (embedded)", "routes", func(context.Context) finding.Result {
			return finding.Because("the database, where the other nodes' leases are")
		})
	}
	if len(routes) == 0 {
		routes = d.leased(ctx, source)
	}
	config.Embedded = &bus.Embedded{Listen: s.ClusterListen, Routes: routes, Source: source}
	return bus.Examine(ctx, config)
}

// source is this node's identity for its peers.
func (d *doctoring) source() (*mtls.Source, error) {
	files, given := peerFiles(d.settings)
	if !given {
		files = d.ownPeer()
	}
	return mtls.Open(files)
}

// leased are the addresses of the other nodes that live, by their leases.
func (d *doctoring) leased(ctx context.Context, source *mtls.Source) (routes []string) {
	store, err := OpenStore(ctx, d.settings, true)
	if err != nil {
		return nil // told with the database
	}
	defer func() { _ = store.Close() }() // only read from
	cluster, found, err := store.Meta(ctx, metaCluster)
	if err != nil || !found {
		return nil // a first start
	}
	self, _ := os.ReadFile(filepath.Join(d.settings.Process.Prefix, "node.id")) // none before the first start
	say := func() members.Say { return members.Say{} }
	live, err := members.New(store, prover{source, proof.Now}, cluster, say, members.Options{Log: slog.New(slog.DiscardHandler)}).Live(ctx)
	if err != nil {
		return nil
	}
	for _, m := range live {
		if m.Address != "" && m.Node != strings.TrimSpace(string(self)) {
			routes = append(routes, m.Address)
		}
	}
	return routes
}

func (d *doctoring) keyring(ctx context.Context) []finding.Finding {
	const area = "keyring"
	s := d.settings
	files := map[string]string{"admin_token_file": s.Admin.TokenFile}
	findings := one(ctx, area, "strategy", func(context.Context) finding.Result {
		strategy := strategyOf(s)
		keeperErr := checkKeeper(s)
		_, courierErr := newCourier(s.Keyring)
		switch err := errors.Join(keeperErr, courierErr); {
		case err != nil:
			return finding.Bad(fault.Text(err), "mend that setting as it says")
		case strategy == "":
			return finding.Beware("keyring_enabled = off: secrets rest in the database in clear", "set keyring_enabled = on and, if the database was used, keyring_migrate_plaintext = on")
		case strategy == "cluster" && s.Keyring.RecoveryPublicKey == "":
			return finding.Beware("cluster, without keyring_recovery_public_key: the keys are lost when all nodes stop at once", "set keyring_recovery_public_key")
		}
		return finding.Fine("%s", strategy)
	})
	if strategyOf(s) == "local" {
		files["keyring_local_key_file"] = s.Keyring.LocalKeyFile
	}
	findings = append(findings, doctor.Files(ctx, area, files)...)
	if strategyOf(s) == vault.Strategy {
		if keeper, err := vaultKeeper(s); err == nil { // told with the strategy
			findings = append(findings, keeper.Examine(ctx)...)
		}
	}
	if strategyOf(s) == kms.Strategy {
		if keeper, err := kmsKeeper(s, slog.New(slog.DiscardHandler), nil); err == nil { // told with the strategy
			findings = append(findings, keeper.Examine(ctx, "keyring_kms_endpoint")...)
			_ = keeper.Close() // nothing is on its way
		}
	}
	return findings
}

func (d *doctoring) adminAPI(ctx context.Context) []finding.Finding {
	s := d.settings.Admin
	var addresses []string
	for _, at := range s.Listen {
		addresses = append(addresses, at.Address)
	}
	findings := one(ctx, "Admin API", "settings", func(context.Context) finding.Result {
		if err := admin.CheckListen(adminListeners(s), s.EnforceRBAC); err != nil {
			return finding.Bad(fault.Text(err), "set admin_listen to loopback addresses, or enforce_rbac = on and ssl")
		}
		return finding.Fine("%s", strings.Join(addresses, ", "))
	})
	if s.SSLCert != "" || s.SSLKey != "" {
		findings = append(findings, doctor.Pair(ctx, "Admin API", "admin_ssl_cert", s.SSLCert, s.SSLKey)...)
	}
	return findings
}

func (d *doctoring) sockets(ctx context.Context) []finding.Finding {
	var sockets []doctor.Socket
	add := func(setting string, addresses ...string) {
		for _, address := range addresses {
			if strings.HasSuffix(address, ":0") {
				continue // any port
			}
			name := setting
			if len(addresses) > 1 {
				name += " " + address
			}
			sockets = append(sockets, doctor.Socket{Setting: name, Address: address})
		}
	}
	s := d.settings
	var adminAt, statusAt, clusterAt []string
	for _, at := range s.Admin.Listen {
		adminAt = append(adminAt, at.Address)
	}
	for _, at := range s.StatusListen {
		statusAt = append(statusAt, at.Address)
	}
	for _, at := range s.Cluster.Listen {
		clusterAt = append(clusterAt, at.Address)
	}
	add("admin_listen", adminAt...)
	add("status_listen", statusAt...)
	if _, given := d.clusterFiles(); given {
		add("cluster_listen", clusterAt...)
	}
	if listen := s.Peers.ClusterListen; s.Database.Engine != "sqlite" && len(s.Peers.URL) == 0 && listen != "" && listen != "off" {
		add("nats_cluster_listen", listen)
	}
	return doctor.Sockets(ctx, "sockets", d.running, sockets)
}
