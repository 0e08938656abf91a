package harness

import (
	"os"
	"path/filepath"
)

// ControlPlane is one keepgate-cp.
type ControlPlane struct {
	*Process
	Prefix  string
	Listen  string // the Admin API
	Cluster string // for data planes
	Status  string
	Route   string // where its embedded NATS server awaits those of other nodes
	flags   []string
}

// ControlPlane makes a control plane and starts nothing: SQLite, keyring on, on free ports. The flags come
// after those, so they can overrule them.
func (c *Cluster) ControlPlane(name string, flags ...string) *ControlPlane {
	c.T.Helper()
	cp := &ControlPlane{
		Prefix: filepath.Join(c.Folder, name),
		Listen: FreeAddress(c.T), Cluster: FreeAddress(c.T), Status: FreeAddress(c.T), Route: FreeAddress(c.T),
	}
	cp.flags = append([]string{
		"--prefix", cp.Prefix, "--log-level", "info",
		"--admin-listen", cp.Listen, "--cluster-listen", cp.Cluster, "--status-listen", cp.Status,
		"--cluster-cert", c.Cert("control-plane.crt"), "--cluster-cert-key", c.Cert("control-plane.key"),
		"--cluster-ca-cert", c.Cert("ca.crt"), "--cluster-crl", c.Cert("crl.pem"),
		"--nats-cluster-listen", cp.Route, "--nats-cluster-advertise", cp.Route,
		"--keyring-enabled=on", "--db-update-frequency", "200ms",
	}, flags...)
	// Not /status/ready: a node whose keys are missing is not ready, and is to be looked at all the same.
	cp.Process = c.newProcess(name, c.cp, append([]string{"run"}, cp.flags...), "http://"+cp.Status+"/status")
	return cp
}

// Node makes one of several control plane nodes, with a certificate of its own, and starts nothing.
func (c *Cluster) Node(name string, flags ...string) *ControlPlane {
	c.T.Helper()
	c.CP("certs", "issue", name, "--role", "control-plane", "--dir", c.Certs())
	return c.ControlPlane(name, append([]string{
		"--cluster-cert", c.Cert(name + ".crt"), "--cluster-cert-key", c.Cert(name + ".key"),
	}, flags...)...)
}

// Show returns a row exactly as the database holds it.
func (cp *ControlPlane) Show(table, id string) string {
	cp.cluster.T.Helper()
	return cp.cluster.CP(append([]string{"store", "show", table, id}, cp.flags...)...)
}

// Admin is a client of its Admin API.
func (cp *ControlPlane) Admin() *Admin { return &Admin{t: cp.cluster.T, base: "http://" + cp.Listen} }

// Token is the token that revealing and recovering ask for.
func (cp *ControlPlane) Token() string {
	cp.cluster.T.Helper()
	text, err := os.ReadFile(filepath.Join(cp.Prefix, "admin.token"))
	if err != nil {
		cp.cluster.T.Fatalf("reading the admin token: %v", err)
	}
	return string(text)
}
