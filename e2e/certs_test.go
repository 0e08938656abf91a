package e2e_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
)

// knock makes a TLS connection to the control plane's port for data planes, as anyone could, and reports whether it
// was let in. Under TLS 1.3 a refusal of the client's certificate comes after the client's side is done.
func knock(t *testing.T, cp *harness.ControlPlane, certs ...tls.Certificate) (welcome bool) {
	t.Helper()
	connection, err := tls.Dial("tcp", cp.Cluster, &tls.Config{
		InsecureSkipVerify: true, // we are the intruder; the control plane is who must look
		Certificates:       certs, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS13,
	})
	if err != nil {
		return false
	}
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(harness.Patience))
	if _, err := io.WriteString(connection, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"); err != nil {
		return false
	}
	_, err = connection.Read(make([]byte, 1))
	return err == nil
}

func keyPair(t *testing.T, folder, name string) tls.Certificate {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(filepath.Join(folder, name+".crt"), filepath.Join(folder, name+".key"))
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// Whoever has no certificate, or not the right one, stays outside, and the control plane's log says why.
func TestCertificates(t *testing.T) {
	t.Parallel()
	c, stranger := harness.New(t), harness.New(t)
	cp := c.ControlPlane("cp")
	cp.Start()
	for _, name := range []string{"good", "revoked"} {
		c.CP("certs", "issue", name, "--dir", c.Certs())
	}
	c.CP("certs", "issue", "boss", "--dir", c.Certs(), "--role", "admin")
	stranger.CP("certs", "issue", "foreign", "--dir", stranger.Certs())
	c.CP("certs", "revoke", "revoked", "--dir", c.Certs())
	harness.Eventually(t, "the revocation", func() string {
		if knock(t, cp, keyPair(t, c.Certs(), "revoked")) {
			return "it is let in"
		}
		return ""
	})
	tests := map[string]struct {
		certs  []tls.Certificate
		reason string
	}{
		"no certificate":        {nil, `reason="no certificate"`},
		"another CA":            {[]tls.Certificate{keyPair(t, stranger.Certs(), "foreign")}, `reason="wrong CA"`},
		"another role":          {[]tls.Certificate{keyPair(t, c.Certs(), "boss")}, `reason="wrong role"`},
		"the control plane's":   {[]tls.Certificate{keyPair(t, c.Certs(), "control-plane")}, `reason="wrong role"`},
		"a revoked certificate": {[]tls.Certificate{keyPair(t, c.Certs(), "revoked")}, "reason=revoked"},
	}
	for name, test := range tests {
		before := len(cp.Log())
		if knock(t, cp, test.certs...) {
			t.Errorf("%s: let in", name)
		}
		cp.AwaitLogSince(before, "cluster connection refused", test.reason)
	}
	if !knock(t, cp, keyPair(t, c.Certs(), "good")) {
		t.Error("a good certificate is refused: the others were perhaps refused for another reason")
	}
}

// A data plane of another authority's gets nothing, by either side's word.
func TestForeignDataPlane(t *testing.T) {
	t.Parallel()
	c, stranger := harness.New(t), harness.New(t)
	cp := c.ControlPlane("cp")
	cp.Start()
	cp.Admin().Push(probeFile(1))
	cert, key := stranger.Enrol("foreign")
	dp := c.DataPlaneWith("foreign", cp, "--cluster-cert", cert, "--cluster-cert-key", key,
		"--cluster-ca-cert", c.Cert("ca.crt"), "--cluster-crl", c.Cert("crl.pem"))
	dp.Launch()
	dp.AwaitEndOr(func() bool { return strings.Contains(cp.Log(), `reason="wrong CA"`) })
	if dp.Pid() != 0 {
		if answer := dp.MustGet("/probe"); answer.Status == 200 {
			t.Error("a foreign data plane was given the configuration")
		}
	}
	bare := c.DataPlaneWith("bare", cp)
	bare.Launch()
	bare.AwaitEnd()
	if !strings.Contains(bare.Log(), "keepgate-dp certs request") {
		t.Errorf("without a certificate it does not say what to do: %s", bare.Log())
	}
}

// A data plane whose certificate is on the list that it reads erases what it holds, with or without a control plane, and
// a restart finds nothing.
func TestAListEndsAMembership(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	cp := c.ControlPlane("cp")
	cp.Start()
	near, away := c.DataPlane("near", cp), c.DataPlane("away", cp)
	for _, dp := range []*harness.DataPlane{near, away} {
		dp.Launch()
	}
	cp.Admin().Push(probeFile(1))
	near.Await(200, "/probe")
	away.Await(200, "/probe")
	away.Stop()
	cp.Stop()
	for _, dp := range []*harness.DataPlane{near, away} {
		c.CP("certs", "revoke", dp.Name, "--dir", c.Certs())
	}
	away.Launch()
	for _, dp := range []*harness.DataPlane{near, away} {
		dp.Await(503, "/probe")
		dp.AwaitLog("shut out of its cluster", "list of revoked ones")
		harness.Eventually(t, "the store of "+dp.Name+" being gone", func() string {
			if files, err := filepath.Glob(filepath.Join(dp.Store(), "[sj]*")); err != nil || len(files) > 0 {
				return fmt.Sprint(files, err)
			}
			return ""
		})
		dp.Kill()
		dp.Launch()
		dp.Await(503, "/probe")
	}
}

// A revocation ends a live link within five seconds; what changes afterwards does not reach that data plane, which
// knows of no list and goes on serving what it has, and does reach the others.
func TestRevocationCutsALiveLink(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	cp := c.ControlPlane("cp")
	cp.Start()
	other := c.DataPlane("other", cp)
	other.Launch()
	cp.Admin().Push(probeFile(1))
	other.Await(200, "/probe")

	var doomed *harness.DataPlane
	var before int
	quickest := time.Hour // of up to three, since the machine may be busy
	for tries := range 3 {
		name := fmt.Sprint("doomed-", tries)
		cert, key := c.Enrol(name)
		doomed = c.DataPlaneWith(name, cp, "--cluster-cert", cert, "--cluster-cert-key", key, "--cluster-ca-cert", c.Cert("ca.crt"))
		doomed.Launch()
		doomed.Await(200, "/probe")
		before = len(cp.Log())
		c.CP("certs", "revoke", doomed.Name, "--dir", c.Certs())
		begun := time.Now()
		cp.AwaitLogSince(before, "data plane unlinked", doomed.Name)
		quickest = min(quickest, time.Since(begun))
		if quickest <= 5*time.Second {
			break
		}
	}
	t.Logf("the link ended %v after the revocation", quickest)
	if quickest > 5*time.Second {
		t.Errorf("the link lived for another %v", quickest)
	}
	cp.Admin().Push(probeFile(2))
	harness.Eventually(t, "the change at the other data plane", func() string {
		if answer := other.MustGet("/probe"); !strings.Contains(answer.Body, "number 2") {
			return answer.Body
		}
		return ""
	})
	cp.AwaitLogSince(before, "cluster connection refused", "reason=revoked")
	if answer := doomed.MustGet("/probe"); !strings.Contains(answer.Body, "number 1") {
		t.Errorf("the revoked data plane serves %d %s", answer.Status, answer.Body)
	}
	doomed.AwaitLog("no link to the control plane")
}
