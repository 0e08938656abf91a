package harness

import (
	"path/filepath"
	"strings"
)

// DataPlane is one keepgate-dp.
type DataPlane struct {
	*Process
	Prefix string
	Proxy  string // plain HTTP
	TLS    string
	Status string
}

// Store is the folder of its local store.
func (d *DataPlane) Store() string { return filepath.Join(d.Prefix, "store") }

// Cache is the folder of what proxy-cache keeps on the disk.
func (d *DataPlane) Cache() string { return filepath.Join(d.Prefix, "cache") }

// AccessLog is the file of its access log.
func (d *DataPlane) AccessLog() string { return filepath.Join(d.Prefix, "logs", "access.log") }

// Enrol makes a key and a request on the node and has the authority sign it, and returns the certificate's
// and the key's file.
func (c *Cluster) Enrol(name string) (cert, key string) {
	c.T.Helper()
	folder := filepath.Join(c.Folder, name, "certs")
	c.DP("certs", "request", "--name", name, "--dir", folder)
	cert = filepath.Join(folder, "cluster.crt")
	c.CP("certs", "sign", filepath.Join(folder, "cluster.csr"), "--dir", c.Certs(), "--name", name, "--out", cert)
	return cert, filepath.Join(folder, "cluster.key")
}

// DataPlane enrols a data plane and starts nothing. The flags come last, so they can overrule the harness's.
func (c *Cluster) DataPlane(name string, cp *ControlPlane, flags ...string) *DataPlane {
	c.T.Helper()
	cert, key := c.Enrol(name)
	return c.DataPlaneWith(name, cp, append([]string{
		"--cluster-cert", cert, "--cluster-cert-key", key,
		"--cluster-ca-cert", c.Cert("ca.crt"), "--cluster-crl", c.Cert("crl.pem"),
	}, flags...)...)
}

// Edge is a data plane that any of several control plane nodes may serve.
func (c *Cluster) Edge(name string, nodes ...*ControlPlane) *DataPlane {
	c.T.Helper()
	var addresses []string
	for _, node := range nodes {
		addresses = append(addresses, node.Cluster)
	}
	return c.DataPlane(name, nodes[0], "--cluster-control-plane", strings.Join(addresses, ","))
}

// DataPlaneWith is a data plane without certificates but those that the flags name.
func (c *Cluster) DataPlaneWith(name string, cp *ControlPlane, flags ...string) *DataPlane {
	c.T.Helper()
	d := &DataPlane{
		Prefix: filepath.Join(c.Folder, name), Proxy: FreeAddress(c.T), TLS: FreeAddress(c.T), Status: FreeAddress(c.T),
	}
	args := append([]string{
		"run", "--prefix", d.Prefix, "--log-level", "info",
		"--proxy-listen", d.Proxy + " reuseport backlog=16384, " + d.TLS + " http2 ssl", "--status-listen", d.Status,
		"--cluster-control-plane", cp.Cluster,
	}, flags...)
	d.Process = c.newProcess(name, c.dp, args, "http://"+d.Status+"/status/ready")
	return d
}
