package doctor_test

import (
	"crypto"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/controlplane/doctor"
	"github.com/keepgate/keepgate/shared/enrolment"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/grpccreds"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/mtls/trust"
)

// TestKnock tries to join at a real listener, where something is wrong each time.
func TestKnock(t *testing.T) {
	t.Parallel()
	root, stranger := mtlstest.NewCA(t, "root"), mtlstest.NewCA(t, "stranger")
	edge := root.Edge(t, "edge")
	control := mtlstest.Leaf{Identity: identity.Identity{Role: identity.ControlPlane}, CN: "cp-1.example.com", DNS: []string{"cp-1.example.com"}}
	issuing := func(ca *mtlstest.CA) func(identity.Identity, crypto.PublicKey, time.Duration) ([][]byte, *x509.Certificate, error) {
		return func(id identity.Identity, public crypto.PublicKey, valid time.Duration) ([][]byte, *x509.Certificate, error) {
			leaf, err := certs.CertifyNode(ca.Cert, ca.Key(), id, public, valid)
			if err != nil {
				return nil, nil, err
			}
			return [][]byte{leaf.Raw, ca.Cert.Raw}, leaf, nil
		}
	}
	for name, test := range map[string]struct {
		door   func(*doctor.Door)
		joins  bool // the listener does not know of joining
		listen bool // nothing listens
		names  *mtls.Options
		says   string
	}{
		"sound":             {},
		"some common names": {names: &mtls.Options{Mode: trust.CheckCN, Role: identity.ControlPlane, CommonNames: []string{"edge-1.example.com"}}},
		"one parent domain": {names: &mtls.Options{Mode: trust.CheckCN, Role: identity.ControlPlane}},
		"no name of a node": {
			names: &mtls.Options{Mode: trust.CheckCN, Role: identity.ControlPlane, CommonNames: []string{"edge 1"}},
			says:  `a data plane with a new certificate is turned away: wrong common name: common name "join-probe" is not in cluster_allowed_common_names`,
		},
		"an edge authority below another root": {
			door: func(d *doctor.Door) { d.Certify = issuing(stranger.Edge(t, "edge")) },
			says: "a data plane with a new certificate is turned away: ",
		},
		"an authority that may certify anybody": { // its list of revoked certificates is missing
			door: func(d *doctor.Door) { d.Certify = issuing(root.Intermediate(t, "middle")) },
			says: "a data plane with a new certificate is turned away: ",
		},
		"nobody certifies": {
			door: func(d *doctor.Door) {
				d.Certify = func(identity.Identity, crypto.PublicKey, time.Duration) ([][]byte, *x509.Certificate, error) {
					return nil, nil, errors.New("the edge authority has expired")
				}
			},
			says: "no certificate is made for a node that joins: the edge authority has expired",
		},
		"another root is handed out": {
			door: func(d *doctor.Door) { d.Root = enrolment.PinOf(stranger.Cert) },
			says: "a node that asks to join is turned away: ",
		},
		"no joining": {joins: true, says: "a node that asks to join is turned away: "},
		"no answer":  {listen: true, says: "a node that asks to join is turned away: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := root.Files(t, root.Issue(t, control))
			files.CRL = files.CA + ".crl"
			mtlstest.Write(t, files.CRL, root.CRL(t, 1, time.Now().Add(time.Hour)))
			options := mtls.Options{}
			if test.names != nil {
				options = *test.names
			}
			source, err := mtls.OpenWith(files, options)
			if err != nil {
				t.Fatal(err)
			}
			socket, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			join := func(conn net.Conn) { _ = conn.Close() }
			if test.joins {
				join = nil
			}
			server := grpc.NewServer(grpc.Creds(grpccreds.Joinable(source, nil, join, identity.DataPlane)))
			if test.listen {
				_ = socket.Close()
			} else {
				go func() { _ = server.Serve(socket) }()
				t.Cleanup(server.Stop)
			}
			door := doctor.Door{
				Address: socket.Addr().String(), Source: source, Root: enrolment.PinOf(root.Cert), Environment: "default", Certify: issuing(edge),
			}
			if test.door != nil {
				test.door(&door)
			}
			err = doctor.Knock(t.Context(), door)
			if test.says == "" && err != nil || test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)) {
				t.Errorf("Knock = %v, want %q", err, test.says)
			}
			if err != nil {
				t.Log(err)
			}
		})
	}
}
