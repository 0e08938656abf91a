package doctor_test

import (
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/doctor"
	"github.com/keepgate/keepgate/controlplane/doctor/finding"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/mtls/trust"
)

func TestJoin(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "ca")
	control := identity.Identity{Role: identity.ControlPlane}
	for name, test := range map[string]struct {
		leaf       mtlstest.Leaf
		revoked    bool
		fact, mend string // "" could join
	}{
		"sound":   {leaf: mtlstest.Leaf{Identity: control}},
		"expired": {leaf: mtlstest.Leaf{Identity: control, NotAfter: time.Now().Add(-time.Minute)}, fact: "expired", mend: "renew what has expired: keepgate-cp certs renew FILE"},
		"for clients alone": {
			leaf: mtlstest.Leaf{Identity: control, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, fact: "wrong key usage",
			mend: "issue this node another certificate: keepgate-cp certs issue NAME --role control-plane",
		},
		"revoked": {leaf: mtlstest.Leaf{Identity: control}, revoked: true, fact: "revoked", mend: "issue this node another certificate: keepgate-cp certs issue NAME --role control-plane"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pair := ca.Issue(t, test.leaf)
			files := ca.Files(t, pair)
			files.CRL = filepath.Join(t.TempDir(), "crl.pem")
			list := ca.CRL(t, 1, time.Now().Add(time.Hour))
			if test.revoked {
				list = ca.CRL(t, 1, time.Now().Add(time.Hour), pair)
			}
			mtlstest.Write(t, files.CRL, list)
			source, err := mtls.Open(files)
			if err != nil {
				t.Fatal(err)
			}
			result := doctor.Joining(t.Context(), source)
			if test.fact == "" {
				if result.Verdict != finding.OK {
					t.Errorf("%+v", result)
				}
				return
			}
			if result.Verdict != finding.Wrong || !strings.Contains(result.Fact, test.fact) || result.Mend != test.mend {
				t.Errorf("%+v", result)
			}
		})
	}
}

func TestSockets(t *testing.T) {
	t.Parallel()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	sockets := []doctor.Socket{{Setting: "admin_listen", Address: socket.Addr().String()}}
	if got := doctor.Sockets(t.Context(), "sockets", true, sockets); got[0].Verdict != finding.OK {
		t.Errorf("a running node: %+v", got)
	}
	if got := doctor.Sockets(t.Context(), "sockets", false, sockets); got[0].Verdict != finding.Wrong || got[0].Mend != "stop it (ss -ltnp shows which), or change admin_listen" {
		t.Errorf("taken: %+v", got)
	}
	foreign := []doctor.Socket{{Setting: "admin_listen", Address: "192.0.2.1:1"}}
	if got := doctor.Sockets(t.Context(), "sockets", false, foreign); got[0].Verdict != finding.Wrong || got[0].Mend != "change admin_listen" {
		t.Errorf("another machine's address: %+v", got)
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := filepath.Join(dir, "open")
	mtlstest.Write(t, open, []byte("s3cret"))
	if err := os.Chmod(open, 0o604); err != nil {
		t.Fatal(err)
	}
	good := filepath.Join(dir, "good")
	mtlstest.Write(t, good, []byte("s3cret"))
	got := doctor.Files(t.Context(), "keyring", map[string]string{"b": open, "a": filepath.Join(dir, "none"), "c": dir, "d": good})
	if len(got) != 4 || got[0].Verdict != finding.OK || got[1].Mend != "chmod 600 "+open || got[2].Verdict != finding.Wrong || got[3].Fact != good+", mode 0600" {
		t.Errorf("%+v", got)
	}
}

func TestJoinInOtherModes(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "ca")
	bare := ca.Files(t, ca.Issue(t, mtlstest.Leaf{
		URIs: []string{}, CN: "cp.example", DNS: []string{"cp.example"}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}))
	named := ca.Files(t, ca.Issue(t, mtlstest.Leaf{Identity: identity.Identity{Role: identity.ControlPlane, Name: "cp"}, CN: "cp.example"}))
	shared, _ := mtlstest.SharedFiles(t)
	for name, test := range map[string]struct {
		files mtls.Files
		mode  trust.Mode
	}{"shared": {shared, trust.Shared}, "pki_check_cn": {named, trust.CheckCN}, "pki_check_cn without an identity": {bare, trust.CheckCN}} {
		options := mtls.Options{Mode: test.mode, Role: identity.ControlPlane}
		source, err := mtls.OpenWith(test.files, options)
		if err != nil {
			t.Fatal(err)
		}
		if err := doctor.Join(t.Context(), source); err != nil {
			t.Errorf("%s: Join = %v", name, err)
		}
		for _, found := range doctor.Certificates(t.Context(), doctor.Cluster{Area: "a", Prefix: "cluster", Files: test.files, Options: options}) {
			if found.Verdict == finding.Wrong {
				t.Errorf("%s: %+v", name, found)
			}
		}
	}
}

// No authority has issued a pair that all nodes have, and none can renew it.
func TestASharedPairIsRenewedByMakingAnother(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "ca")
	options := mtls.Options{Mode: trust.Shared, Role: identity.ControlPlane}
	for name, end := range map[string]time.Duration{"expires soon": time.Hour, "expired": -time.Minute} {
		files := ca.Files(t, ca.Issue(t, mtlstest.Leaf{
			CN: trust.SharedName, URIs: []string{}, NotAfter: time.Now().Add(end), Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}))
		files.CA, files.CRL = "", ""
		var mends []string
		for _, found := range doctor.Certificates(t.Context(), doctor.Cluster{Area: "a", Prefix: "cluster", Files: files, Options: options}) {
			if found.Step == "dates" {
				mends = append(mends, found.Mend)
			}
		}
		if end < 0 {
			source, err := mtls.OpenWith(files, options)
			if err != nil {
				t.Fatal(err)
			}
			mends = append(mends, doctor.Joining(t.Context(), source).Mend)
		}
		if len(mends) == 0 {
			t.Errorf("%s: nobody says it", name)
		}
		for _, mend := range mends {
			if !strings.Contains(mend, "keepgate-cp hybrid gen_cert CERT KEY") {
				t.Errorf("%s: %q", name, mend)
			}
		}
	}
}
