package e2e_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
)

// sharedPair makes the pair of cluster_mtls = shared, and returns the flags of a node that has it.
func sharedPair(t *testing.T, c *harness.Cluster, name string) []string {
	t.Helper()
	cert, key := filepath.Join(c.Folder, name+".crt"), filepath.Join(c.Folder, name+".key")
	if out := c.CP("hybrid", "gen_cert", cert, key); !strings.Contains(out, "Successfully generated certificate/key pairs") {
		t.Fatal(out)
	}
	return []string{"--cluster-mtls", "shared", "--cluster-cert", cert, "--cluster-cert-key", key, "--cluster-ca-cert=", "--cluster-crl="}
}

// One certificate on both sides, as Kong's hybrid mode has it.
func TestClusterShared(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	pair := sharedPair(t, c, "pair")
	cp := c.ControlPlane("cp", pair...)
	cp.Start()
	cp.Admin().Push(probeFile(1))
	dp := c.DataPlaneWith("edge", cp, pair...)
	dp.Launch()
	dp.Await(200, "/probe")
	second := c.DataPlaneWith("edge-2", cp, pair...)
	second.Launch()
	second.Await(200, "/probe")
	harness.Eventually(t, "both data planes in the list", func() string {
		if nodes, err := cp.Admin().DataPlanes(); err != nil || len(nodes) != 2 {
			return "not yet"
		}
		return ""
	})

	other := c.DataPlaneWith("other", cp, sharedPair(t, c, "other-pair")...)
	before := len(cp.Log())
	other.Launch()
	other.AwaitLog("not the shared certificate", "digest does not match the certificate of this data plane")
	cp.AwaitLogSince(before, "cluster connection refused", "refused by the other side")

	// A data plane that believes in another way: both sides say so.
	before = len(cp.Log())
	pki := c.DataPlane("pki", cp)
	pki.Launch()
	pki.AwaitLog("a certificate of this name is that of cluster_mtls = shared, and this side has pki")
	cp.AwaitLogSince(before, "the other side has another cluster_mtls than shared, which this one has")

	// Whoever does not look at the control plane's certificate is refused by its own.
	c.CP("certs", "issue", "intruder", "--dir", c.Certs())
	if knock(t, cp, keyPair(t, c.Certs(), "intruder")) {
		t.Error("a certificate of the cluster's authority is let in")
	}
	cp.AwaitLogSince(before, "data plane presented incorrect client certificate during handshake (digest does not match the control plane certificate)")

	// What cannot be told apart is not made.
	if answer, err := cp.Admin().Try("POST", "/environments", map[string]any{"name": "staging"}); err != nil || answer.Status != 400 || !strings.Contains(answer.Body, "cannot tell environments apart") {
		t.Errorf("another environment: %d %s, %v", answer.Status, answer.Body, err)
	}
	if out, err := c.TryCP("fleet", "invite", "--environment", "default", "--admin-url", "http://"+cp.Listen); err == nil || !strings.Contains(err.Error(), "with cluster_mtls = shared all data planes have the same certificate") {
		t.Errorf("an invitation: %s, %v", out, err)
	}
	cp.Stop()
	dp.Kill()
	dp.Launch()
	dp.Await(200, "/probe") // from its store
}

// A control plane of mode pki says that a data plane is of mode shared, and so does that one.
func TestClusterModesDiffer(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	cp := c.ControlPlane("cp")
	cp.Start()
	shared := c.DataPlaneWith("shared", cp, sharedPair(t, c, "pair")...)
	shared.Launch()
	shared.AwaitLog("not the shared certificate", "both planes have the same cluster_cert, and the same cluster_mtls")
	cp.AwaitLog("the other side has cluster_mtls = shared, this one pki")
	for name, test := range map[string]struct {
		flags []string
		want  string
	}{
		"a list":       {append(sharedPair(t, c, "a"), "--cluster-crl", c.Cert("crl.pem")), "cluster_mtls = shared can revoke nothing"},
		"ocsp":         {append(sharedPair(t, c, "b"), "--cluster-ocsp", "on"), "cluster_mtls = shared can revoke nothing"},
		"names":        {[]string{"--cluster-allowed-common-names", "a.example"}, "cluster_mtls = pki looks at no common names"},
		"another pair": {[]string{"--cluster-mtls", "shared", "--cluster-crl="}, "needs one of the name kong_clustering"},
		"no domain":    {[]string{"--cluster-mtls", "pki_check_cn"}, "has no parent domain that those of data planes could share"},
	} {
		out, err := c.ControlPlane("cp-"+strings.ReplaceAll(name, " ", "-"), test.flags...).Command("check")
		if err == nil || !strings.Contains(out+err.Error(), test.want) {
			t.Errorf("%s: check says %s, %v; want %q", name, out, err, test.want)
		}
	}
}

// Certificates of an authority that knows nothing of identities: their common names say who they are.
func TestClusterCheckCN(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	ca := newForeignCA(t, filepath.Join(c.Folder, "corporate"))
	for _, cn := range []string{"cp.gate.example", "edge.gate.example", "edge.other.example", "named.other.example"} {
		ca.issue(cn, "")
	}
	const mode = "pki_check_cn"
	cp := c.ControlPlane("cp", ca.flags("cp.gate.example", mode)...)
	cp.Start()
	cp.Admin().Push(probeFile(1))
	node := func(cp *harness.ControlPlane, name, cn string, more ...string) *harness.DataPlane {
		dp := c.DataPlaneWith(name, cp, ca.flags(cn, mode, append([]string{"--cluster-server-name", "cp.gate.example"}, more...)...)...)
		dp.Launch()
		return dp
	}
	node(cp, "edge", "edge.gate.example").Await(200, "/probe")
	stranger := node(cp, "stranger", "edge.other.example")
	cp.AwaitLog(`reason="wrong common name"`, "is not below", "edge.other.example")
	stranger.AwaitLog("refused by the other side: bad certificate; its log says why")
	misled := node(cp, "misled", "edge.gate.example", "--cluster-server-name", "another.gate.example")
	misled.AwaitLog("wrong server name")
	strict := c.DataPlaneWith("strict", cp, ca.flags("edge.gate.example", "pki")...)
	strict.Launch()
	strict.AwaitEnd()
	if !strings.Contains(strict.Log(), "no keepgate:// URI SAN") {
		t.Errorf("a data plane of mode pki starts without an identity: %s", strict.Log())
	}

	listed := c.ControlPlane("cp-listed", ca.flags("cp.gate.example", mode, "--cluster-allowed-common-names", "named.other.example")...)
	listed.Start()
	listed.Admin().Push(probeFile(2))
	node(listed, "named", "named.other.example").Await(200, "/probe")
	node(listed, "unnamed", "edge.gate.example")
	listed.AwaitLog(`reason="wrong common name"`, "is not in cluster_allowed_common_names", "edge.gate.example")
	// Without that mode such a certificate is nobody's.
	if knock(t, cp, keyPair(t, ca.folder, "edge.other.example")) {
		t.Error("a common name of another domain is let in")
	}
}

// The responder that a data plane's certificate names is asked at the link, and again while it lasts.
func TestClusterOCSP(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	ca := newForeignCA(t, filepath.Join(c.Folder, "corporate"))
	r, url := newResponder(t, ca)
	ca.issue("cp.gate.example", "")
	good, gone := ca.issue("good.gate.example", url), ca.issue("gone.gate.example", url)
	ca.issue("mute.gate.example", "")
	const mode = "pki_check_cn"
	on := c.ControlPlane("cp-on", ca.flags("cp.gate.example", mode, "--cluster-ocsp", "on")...)
	optional := c.ControlPlane("cp-optional", ca.flags("cp.gate.example", mode, "--cluster-ocsp", "optional")...)
	for _, cp := range []*harness.ControlPlane{on, optional} {
		cp.Start()
		cp.Admin().Push(probeFile(1))
	}
	node := func(cp *harness.ControlPlane, name, cn string) *harness.DataPlane {
		dp := c.DataPlaneWith(name, cp, ca.flags(cn, mode, "--cluster-server-name", "cp.gate.example")...)
		dp.Launch()
		return dp
	}
	r.change(func() { r.revoked[gone.SerialNumber.String()] = true })
	served := node(on, "good", "good.gate.example")
	served.Await(200, "/probe")
	node(on, "gone", "gone.gate.example")
	on.AwaitLog("reason=revoked", "gone.gate.example")
	node(on, "mute", "mute.gate.example")
	on.AwaitLog(`reason="revocation unknown"`, "mute.gate.example")
	node(optional, "mute-may", "mute.gate.example").Await(200, "/probe")
	optional.AwaitLog("is let in, as cluster_ocsp = optional says", "mute.gate.example")
	node(optional, "gone-too", "gone.gate.example")
	optional.AwaitLog("reason=revoked", "gone.gate.example")

	// A link that stands ends, and what changes afterwards does not go there.
	before := len(on.Log())
	r.change(func() { r.revoked[good.SerialNumber.String()] = true })
	on.AwaitLogSince(before, "revoked", "good.gate.example")
	on.Admin().Push(probeFile(2))
	if answer := served.MustGet("/probe"); !strings.Contains(answer.Body, "number 1") {
		t.Errorf("a revoked data plane was told of a change: %s", answer.Body)
	}
	// Nobody answers: nobody gets in.
	r.change(func() { r.dead = true })
	ca.issue("late.gate.example", url)
	before = len(on.Log())
	node(on, "late", "late.gate.example")
	on.AwaitLogSince(before, `reason="revocation unknown"`, "late.gate.example")
	asked := 0
	if r.change(func() { asked = r.asked }); asked == 0 {
		t.Error("nobody asked the responder")
	}
}
