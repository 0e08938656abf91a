package doctor

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/keepgate/keepgate/shared/enrolment"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

const (
	// probeName is what the certificate is called that is made to be shown once, where every name may link.
	probeName = "join-probe"
	// probeValidity is for how long that is valid. Nothing can be done with it: it is on no record.
	probeValidity = 10 * time.Minute
)

// Door is where data planes come to a control plane that certifies them.
type Door struct {
	Address     string // of the cluster listener
	Source      *mtls.Source
	Root        enrolment.Pin // by which a node that joins knows the control plane
	Environment string
	// Certify certifies a key as an edge authority does for a data plane that joins.
	Certify func(id identity.Identity, public crypto.PublicKey, valid time.Duration) (chain [][]byte, leaf *x509.Certificate, err error)
}

// Knock does what a data plane does that is new, as far as that leaves no trace: it asks at the listener to join, has a
// certificate made for a key of its own, and connects with it.
func Knock(ctx context.Context, d Door) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := d.join(ctx); err != nil {
		return fmt.Errorf("a node that asks to join is turned away: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	id := identity.Identity{Role: identity.DataPlane, Organisation: d.Source.Identity().Organisation, Environment: d.Environment}
	id.Name = d.Source.PermittedName(probeName)
	chain, leaf, err := d.Certify(id, key.Public(), probeValidity)
	if err != nil {
		return fmt.Errorf("no certificate is made for a node that joins: %w", err)
	}
	if err := d.link(ctx, &tls.Certificate{Certificate: chain, PrivateKey: key, Leaf: leaf}); err != nil {
		return fmt.Errorf("a data plane with a new certificate is turned away: %w", err)
	}
	return nil
}

// join does the handshake of a node that wants its first certificate.
func (d Door) join(ctx context.Context) error {
	conn, err := dial(ctx, d.Address, &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{enrolment.Protocol},
		InsecureSkipVerify: true, // by name; VerifyConnection looks for the root
		VerifyConnection: func(cs tls.ConnectionState) error {
			_, err := enrolment.CheckPeer(cs, d.Root, time.Now())
			return err
		},
	})
	if err != nil {
		return err
	}
	_ = conn.Close() // nothing was said
	return nil
}

// link does the handshake of a data plane. That the listener takes its certificate shows in what comes after: the first
// frame of HTTP/2 (RFC 9113 section 3.4).
func (d Door) link(ctx context.Context, cert *tls.Certificate) error {
	config := d.Source.Client(nameOf(d.Source), identity.ControlPlane)
	config.NextProtos = []string{"h2"}
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	conn, err := dial(ctx, d.Address, config)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // nobody is told
	const (
		preface     = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
		settings    = 4 // the type of a frame, its fourth byte
		frameHeader = 9
	)
	if _, err := conn.Write(append([]byte(preface), 0, 0, 0, settings, 0, 0, 0, 0, 0)); err != nil {
		return d.refusal(ctx, config, err)
	}
	head := make([]byte, frameHeader)
	if _, err := io.ReadFull(conn, head); err != nil {
		return d.refusal(ctx, config, err)
	}
	if head[3] != settings {
		return errors.New("the listener does not answer with HTTP/2")
	}
	return nil
}

// refusal finds out why the listener refused a certificate, which it tells nobody: by the same handshake in memory.
func (d Door) refusal(ctx context.Context, config *tls.Config, err error) error {
	near, far := net.Pipe()
	defer func() { _, _ = near.Close(), far.Close() }() // of memory
	answer := make(chan error, 1)
	go func() { answer <- tls.Server(far, d.Source.Server(identity.DataPlane)).HandshakeContext(ctx) }()
	client := tls.Client(near, config)
	if client.HandshakeContext(ctx) == nil {
		_, _ = client.Read(make([]byte, 1)) // takes the refusal off the pipe
	}
	_ = near.Close()
	if refusal := verdict.Explain(<-answer); refusal != nil {
		return refusal
	}
	return err
}

// dial connects and does the handshake.
func dial(ctx context.Context, address string, config *tls.Config) (*tls.Conn, error) {
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", reachable(address))
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := raw.SetDeadline(deadline); err != nil {
			_ = raw.Close() // there is nothing to say
			return nil, err
		}
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close() // the handshake says more
		return nil, err
	}
	return conn, nil
}
