package harness

import (
	"regexp"
	"strings"
)

// Found makes the control plane certify data planes that join: an authority for them below the cluster's.
func (c *Cluster) Found(cp *ControlPlane) {
	c.T.Helper()
	c.CP("fleet", "authority", "create", "--dir", c.Certs(), "--admin-url", "http://"+cp.Listen)
}

var token = regexp.MustCompile(`kgj1\.[A-Za-z0-9._-]+`)

// Invite returns a token that lets one data plane join an environment. Further arguments are those of the command.
func (c *Cluster) Invite(cp *ControlPlane, environment string, args ...string) string {
	c.T.Helper()
	line := c.CP(append([]string{"fleet", "invite", "--environment", environment, "--admin-url", "http://" + cp.Listen}, args...)...)
	found := token.FindString(line)
	if found == "" || !strings.Contains(line, "keepgate-dp join") {
		c.T.Fatalf("an invitation without a token, or that does not say what to run: %s", line)
	}
	return found
}

// Joined is a data plane that has joined by an invitation of the first of some control plane nodes, and that any of
// them may serve. It starts nothing.
func (c *Cluster) Joined(name, environment string, nodes ...*ControlPlane) *DataPlane {
	c.T.Helper()
	d := c.Unjoined(name, nodes...)
	c.DP("join", "--prefix", d.Prefix, "--control-plane", addresses(nodes), "--token", c.Invite(nodes[0], environment, "--name", name))
	return d
}

// Unjoined is a data plane that has no certificate yet.
func (c *Cluster) Unjoined(name string, nodes ...*ControlPlane) *DataPlane {
	c.T.Helper()
	return c.DataPlaneWith(name, nodes[0], "--cluster-control-plane", addresses(nodes))
}

func addresses(nodes []*ControlPlane) string {
	var list []string
	for _, node := range nodes {
		list = append(list, node.Cluster)
	}
	return strings.Join(list, ",")
}
