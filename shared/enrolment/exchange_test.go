package enrolment_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	"github.com/keepgate/keepgate/shared/enrolment"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
)

// server is the control plane's end of an exchange, of any kind.
type server struct {
	pair      mtlstest.Pair
	chain     [][]byte // after the leaf
	protocols []string
	version   uint16
	answer    *enrolv1.JoinResponse
	raw       func(net.Conn) // instead of all this
}

// serve answers one connection, and passes on what it heard before it closed.
func (s server) serve(t *testing.T) (dial func(context.Context) (net.Conn, error), heard <-chan *enrolv1.JoinRequest) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	said := make(chan *enrolv1.JoinRequest, 1)
	go func() {
		defer close(said)
		raw, err := l.Accept()
		if err != nil {
			return
		}
		defer raw.Close()
		_ = raw.SetDeadline(time.Now().Add(30 * time.Second))
		if s.raw != nil {
			s.raw(raw)
			return
		}
		pair, err := tls.X509KeyPair(s.pair.CertPEM, s.pair.KeyPEM)
		if err != nil {
			return
		}
		pair.Certificate = append(pair.Certificate[:1:1], s.chain...)
		conn := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: s.protocols, MaxVersion: s.version})
		var request enrolv1.JoinRequest
		if enrolment.ReadFrame(conn, &request) != nil {
			return
		}
		said <- &request
		if s.answer != nil {
			_ = enrolment.WriteFrame(conn, s.answer)
		}
		_ = conn.Close()
	}()
	return func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	}, said
}

func issued() *enrolv1.JoinResponse {
	return &enrolv1.JoinResponse{Outcome: &enrolv1.JoinResponse_Issued{Issued: &enrolv1.Issued{Chain: [][]byte{{1}}}}}
}

func refusal(again bool) *enrolv1.JoinResponse {
	return &enrolv1.JoinResponse{Outcome: &enrolv1.JoinResponse_Refusal{Refusal: &enrolv1.Refusal{Reason: "the token expired", Again: again}}}
}

// The token is said to a control plane of the cluster alone, and to nobody else.
func TestExchange(t *testing.T) {
	t.Parallel()
	root, foreign := mtlstest.NewCA(t, "root"), mtlstest.NewCA(t, "root")
	between := root.Intermediate(t, "between")
	controlPlane := identity.Identity{Role: identity.ControlPlane, Name: "cp"}
	own := root.Issue(t, mtlstest.Leaf{Identity: controlPlane})
	reversed := func(role identity.Role) mtlstest.Pair { // one that may serve, and is no control plane
		return root.Issue(t, mtlstest.Leaf{Identity: identity.Identity{Role: role, Name: "x"}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	}
	protocols, rootDER := []string{enrolment.Protocol}, [][]byte{root.Cert.Raw}
	tests := map[string]struct {
		server server
		want   error // nil: issued
		heard  bool
	}{
		"a control plane":                  {server{pair: own, chain: rootDER, protocols: protocols, answer: issued()}, nil, true},
		"one below an intermediate":        {server{pair: between.Issue(t, mtlstest.Leaf{Identity: controlPlane}), chain: [][]byte{between.Cert.Raw, root.Cert.Raw}, protocols: protocols, answer: issued()}, nil, true},
		"no answer":                        {server{pair: own, chain: rootDER, protocols: protocols}, enrolment.ErrUnanswered, true},
		"an empty answer":                  {server{pair: own, chain: rootDER, protocols: protocols, answer: &enrolv1.JoinResponse{}}, errAny, true},
		"a refusal":                        {server{pair: own, chain: rootDER, protocols: protocols, answer: refusal(false)}, &enrolment.Refused{Reason: "the token expired"}, true},
		"a refusal for now":                {server{pair: own, chain: rootDER, protocols: protocols, answer: refusal(true)}, &enrolment.Refused{Reason: "the token expired", Again: true}, true},
		"somebody in between":              {server{pair: foreign.Issue(t, mtlstest.Leaf{Identity: controlPlane}), chain: [][]byte{foreign.Cert.Raw}, protocols: protocols}, enrolment.ErrOtherRoot, false},
		"that shows the root too":          {server{pair: foreign.Issue(t, mtlstest.Leaf{Identity: controlPlane}), chain: [][]byte{foreign.Cert.Raw, root.Cert.Raw}, protocols: protocols}, enrolment.ErrOtherRoot, false},
		"that shows the root alone":        {server{pair: foreign.Issue(t, mtlstest.Leaf{Identity: controlPlane}), chain: rootDER, protocols: protocols}, enrolment.ErrOtherRoot, false},
		"without the root":                 {server{pair: own, protocols: protocols}, enrolment.ErrOtherRoot, false},
		"a data plane of the cluster":      {server{pair: reversed(identity.DataPlane), chain: rootDER, protocols: protocols}, enrolment.ErrNotControlPlane, false},
		"an admin of the cluster":          {server{pair: reversed(identity.Admin), chain: rootDER, protocols: protocols}, enrolment.ErrNotControlPlane, false},
		"one that may not serve":           {server{pair: root.Issue(t, mtlstest.Leaf{Identity: controlPlane, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}), chain: rootDER, protocols: protocols}, enrolment.ErrOtherRoot, false},
		"without an identity":              {server{pair: root.Issue(t, mtlstest.Leaf{Identity: controlPlane, URIs: []string{}}), chain: rootDER, protocols: protocols}, enrolment.ErrNotControlPlane, false},
		"an expired one":                   {server{pair: root.Issue(t, mtlstest.Leaf{Identity: controlPlane, NotAfter: time.Now().Add(-time.Minute)}), chain: rootDER, protocols: protocols}, enrolment.ErrClock, false},
		"one of tomorrow":                  {server{pair: root.Issue(t, mtlstest.Leaf{Identity: controlPlane, NotBefore: time.Now().Add(10 * time.Minute)}), chain: rootDER, protocols: protocols}, enrolment.ErrClock, false},
		"a server that knows no joining":   {server{pair: own, chain: rootDER, protocols: []string{"h2"}}, enrolment.ErrNoJoin, false},
		"a server that names no protocols": {server{pair: own, chain: rootDER}, enrolment.ErrNoJoin, false},
		"TLS 1.2":                          {server{pair: own, chain: rootDER, protocols: protocols, version: tls.VersionTLS12}, errAny, false},
		"no TLS":                           {server{raw: func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }}, enrolment.ErrNoJoin, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dial, heard := test.server.serve(t)
			token, err := enrolment.NewToken(tokenID, enrolment.PinOf(root.Cert))
			if err != nil {
				t.Fatal(err)
			}
			answer, err := enrolment.Exchange(t.Context(), dial, token, &enrolv1.JoinRequest{Name: "edge-1"})
			check(t, answer, err, test.want)
			request := <-heard
			if (request != nil) != test.heard {
				t.Errorf("the token was said: %v", request != nil)
			}
			if request != nil && (request.GetToken() != textOf(token) || request.GetName() != "edge-1") {
				t.Errorf("heard %q", request.GetName())
			}
			if err != nil && strings.Contains(err.Error(), strings.Split(textOf(token), ".")[2]) {
				t.Errorf("the error shows the token: %v", err)
			}
		})
	}
}

var errAny = errors.New("any")

func check(t *testing.T, answer *enrolment.Answer, err, want error) {
	t.Helper()
	var refused *enrolment.Refused
	switch {
	case want == nil:
		if err != nil || answer.From.Role != identity.ControlPlane || answer.From.Name != "cp" || len(answer.Issued.GetChain()) != 1 || len(answer.TLS.PeerCertificates) == 0 {
			t.Errorf("Exchange = %+v, %v", answer, err)
		}
	case errors.As(want, &refused):
		if got, ok := errors.AsType[*enrolment.Refused](err); !ok || *got != *refused {
			t.Errorf("Exchange = %v, want %v", err, want)
		}
	case err == nil || want != errAny && !errors.Is(err, want):
		t.Errorf("Exchange = %v, want %v", err, want)
	}
}

// A certificate that claims the root's key, and was not signed by it, is not the root: it could say that the root
// allows what it does not.
func TestAForgedRootIsNoRoot(t *testing.T) {
	t.Parallel()
	root, forger := mtlstest.NewCA(t, "root"), mtlstest.NewCA(t, "forger")
	// A cross certificate has the root's key, its name and another signature.
	forged := forger.Cross(t, root).Cert
	leaf := root.Issue(t, mtlstest.Leaf{Identity: identity.Identity{Role: identity.ControlPlane, Name: "cp"}})
	block, _ := pem.Decode(leaf.CertPEM)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	cs := tls.ConnectionState{NegotiatedProtocol: enrolment.Protocol, PeerCertificates: []*x509.Certificate{cert, forged}}
	if enrolment.PinOf(forged) != enrolment.PinOf(root.Cert) {
		t.Fatal("the forged certificate has another key")
	}
	if _, err := enrolment.CheckPeer(cs, enrolment.PinOf(root.Cert), time.Now()); !errors.Is(err, enrolment.ErrOtherRoot) {
		t.Errorf("CheckPeer = %v", err)
	}
	cs.PeerCertificates = append(cs.PeerCertificates, root.Cert)
	if _, err := enrolment.CheckPeer(cs, enrolment.PinOf(root.Cert), time.Now()); err != nil {
		t.Errorf("with the root itself: %v", err)
	}
}

func TestASilentControlPlaneIsLeft(t *testing.T) {
	t.Parallel()
	dial, _ := server{raw: func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }}.serve(t)
	token, err := enrolment.NewToken(tokenID, enrolment.Pin{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := enrolment.Exchange(ctx, dial, token, &enrolv1.JoinRequest{}); err == nil {
		t.Error("an exchange with nobody")
	}
}
