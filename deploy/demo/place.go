package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// ports are where everything listens, on loopback.
type ports struct{ admin, cluster, cpStatus, proxy, dpStatus, upstream int }

// defaultAdmin is where the commands look for the Admin API.
const defaultAdmin = 8001

// choosePorts takes the defaults where they are free, and free ones where not.
func choosePorts() (ports, error) {
	var p ports
	var faults error
	for _, wish := range []struct {
		port      *int
		preferred int
	}{{&p.admin, defaultAdmin}, {&p.cluster, 8005}, {&p.cpStatus, 8100}, {&p.proxy, 8000}, {&p.dpStatus, 8007}, {&p.upstream, 9900}} {
		listener, err := net.Listen("tcp", address(wish.preferred))
		if err != nil {
			listener, err = net.Listen("tcp", address(0))
		}
		if err != nil {
			faults = errors.Join(faults, fmt.Errorf("finding a free port: %w", err))
			continue
		}
		*wish.port = listener.Addr().(*net.TCPAddr).Port
		defer listener.Close() // only once all are chosen, so that none is chosen twice
	}
	return p, faults
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// prepareFile reads the key that the file gives to alice, and copies the file where its upstream's port is taken.
func (d *demo) prepareFile(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading the declarative file: %w", err)
	}
	key := regexp.MustCompile(`(?m)^ *- key: (\S+)$`).FindSubmatch(text)
	if key == nil {
		return fmt.Errorf("%s gives nobody a key", file)
	}
	d.alice = string(key[1])
	moved := strings.Replace(string(text), "127.0.0.1:9900", address(d.ports.upstream), 1)
	d.file = filepath.Join(d.folder, "keepgate.yaml")
	return os.WriteFile(d.file, []byte(moved), 0o600)
}

// writeSettings writes one settings file for each plane. Paths in them are relative to the folder.
func (d *demo) writeSettings() error {
	cp := fmt.Sprintf(`prefix = cp
keyring_enabled = on
admin_listen = %s
cluster_listen = %s
status_listen = %s
cluster_cert = certs/control-plane.crt
cluster_cert_key = certs/control-plane.key
cluster_ca_cert = certs/ca.crt
cluster_crl = certs/crl.pem
`, address(d.ports.admin), address(d.ports.cluster), address(d.ports.cpStatus))
	dp := fmt.Sprintf(`prefix = dp
proxy_listen = %s
status_listen = %s
cluster_control_plane = %s
cluster_cert = dp/certs/edge-1.crt
cluster_cert_key = dp/certs/cluster.key
cluster_ca_cert = certs/ca.crt
cluster_crl = certs/crl.pem
`, address(d.ports.proxy), address(d.ports.dpStatus), address(d.ports.cluster))
	return errors.Join(
		os.WriteFile(filepath.Join(d.folder, "cp.conf"), []byte(cp), 0o600),
		os.WriteFile(filepath.Join(d.folder, "dp.conf"), []byte(dp), 0o600),
	)
}

// upstream is the service behind the gate. It answers with whom the gate says the caller is.
type upstream struct {
	server *http.Server
	ended  chan struct{}
	asked  atomic.Int64
}

func serveUpstream(port int) (*upstream, error) {
	listener, err := net.Listen("tcp", address(port))
	if err != nil {
		return nil, fmt.Errorf("starting the upstream: %w", err)
	}
	u := &upstream{ended: make(chan struct{})}
	u.server = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: u}
	go func() { defer close(u.ended); _ = u.server.Serve(listener) }() // ends by Close
	return u, nil
}

// ServeHTTP implements http.Handler.
func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.asked.Add(1)
	shown := "no key"
	if r.Header.Get("apikey") != "" {
		shown = "a key"
	}
	fmt.Fprintf(w, "hello %s, says the upstream, which was shown %s\n", r.Header.Get("X-Consumer-Username"), shown)
}

func (u *upstream) stop() {
	_ = u.server.Close()
	<-u.ended
}
