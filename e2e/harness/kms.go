package harness

import (
	"path/filepath"
	"strings"
)

// KMS is one keepgate-kms, beside an API server.
type KMS struct {
	*Process
	Prefix string
	Socket string
	Status string
}

// KMS issues a certificate of role kms and makes a plugin with it, and starts nothing. The KEK is what the name has before
// its first dot; the flags come last, so they can overrule the harness's.
func (c *Cluster) KMS(name string, nodes []*ControlPlane, flags ...string) *KMS {
	c.T.Helper()
	c.CP("certs", "issue", name, "--role", "kms", "--dir", c.Certs())
	prefix := filepath.Join(c.Folder, name)
	k := &KMS{Prefix: prefix, Socket: filepath.Join(prefix, "kms.sock"), Status: FreeAddress(c.T)}
	var addresses []string
	for _, node := range nodes {
		addresses = append(addresses, node.Cluster)
	}
	args := append([]string{
		"run",
		"--prefix", prefix, "--log-level", "info", "--kms-listen", k.Endpoint(), "--status-listen", k.Status,
		"--cluster-control-plane", strings.Join(addresses, ","),
		"--cluster-cert", c.Cert(name + ".crt"), "--cluster-cert-key", c.Cert(name + ".key"),
		"--cluster-ca-cert", c.Cert("ca.crt"), "--cluster-crl", c.Cert("crl.pem"),
	}, flags...)
	// Not /status/ready: a plugin whose control plane is away serves all the same.
	k.Process = c.newProcess(name, c.kms, args, "http://"+k.Status+"/livez")
	return k
}

// Endpoint is its socket as an encryption configuration names it.
func (k *KMS) Endpoint() string { return "unix://" + k.Socket }
