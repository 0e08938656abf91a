package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keepgate/keepgate/controlplane/doctor/finding"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/trust"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

const patience = 5 * time.Second

// Join rehearses the handshake of a data plane that is new, in memory and with the trust that counts at this moment: expired
// certificates show late otherwise, since links that stand go on.
//
// No data plane's certificate is at hand, so this node's own plays both ends. What a data plane would ask of this end is asked; what
// this end asks of a data plane is asked up to its role, which is refused as it must be.
func Join(ctx context.Context, source *mtls.Source) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	near, far, err := sockets()
	if err != nil {
		return fmt.Errorf("making two sockets: %w", err)
	}
	defer func() { _, _ = near.Close(), far.Close() }() // nobody else has them
	answer := make(chan error, 1)
	go func() {
		err := tls.Server(far, source.Server(identity.DataPlane)).HandshakeContext(ctx)
		if err == nil {
			_ = far.Close() // or the client would wait for more
		}
		answer <- err
	}()
	client := tls.Client(near, source.Client(nameOf(source), identity.ControlPlane))
	err = client.HandshakeContext(ctx)
	if err == nil {
		_, _ = client.Read(make([]byte, 1)) // takes the refusal off the pipe
	}
	_ = near.Close()
	other := <-answer
	if err != nil {
		return fmt.Errorf("data planes refuse this node: %w", verdict.Explain(err))
	}
	refusal := verdict.Explain(other)
	if refusal == nil && source.Mode() != trust.PKI {
		return nil // the certificate does not tell the planes apart
	}
	if refusal == nil {
		return errors.New("a control plane's certificate is taken for a data plane's")
	}
	if refusal.Reason != verdict.WrongRole {
		return fmt.Errorf("this node refuses certificates of its own authority: %w", refusal)
	}
	return nil
}

// sockets are two ends that hold what was not read yet: an end that refuses says so while the other one still writes.
func sockets() (near, far net.Conn, err error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	one, other := os.NewFile(uintptr(ends[0]), "near"), os.NewFile(uintptr(ends[1]), "far")
	defer func() { _, _ = one.Close(), other.Close() }() // connections have copies
	if near, err = net.FileConn(one); err != nil {
		return nil, nil, err
	}
	if far, err = net.FileConn(other); err != nil {
		_ = near.Close() // nothing was said
		return nil, nil, err
	}
	return near, far, nil
}

// nameOf is the name that this node's certificate needs where it has no identity.
func nameOf(source *mtls.Source) string {
	if names := source.Certificate().DNSNames; source.Mode() == trust.CheckCN && len(names) > 0 {
		return names[0]
	}
	return ""
}

// Joining tells the rehearsal as a finding.
func Joining(ctx context.Context, source *mtls.Source) finding.Result {
	if err := Join(ctx, source); err != nil {
		return finding.Bad(err.Error(), mendOf(err, source.Mode()))
	}
	return finding.Fine("rehearsed: this node's certificate, authority and list of revoked certificates would do")
}

func mendOf(err error, mode trust.Mode) string {
	refusal, ok := errors.AsType[*verdict.Refusal](err)
	if !ok {
		return "see the cluster certificates above"
	}
	switch refusal.Reason {
	case verdict.Expired:
		if mode == trust.Shared {
			return "renew what has expired: " + renewShared
		}
		return "renew what has expired: keepgate-cp certs renew FILE"
	case verdict.NotYetValid:
		return "set the clock of this machine (timedatectl)"
	case verdict.Revoked, verdict.WrongUsage, verdict.NoIdentity, verdict.BadIdentity:
		return "issue this node another certificate: keepgate-cp certs issue NAME --role control-plane"
	case verdict.RevocationUnknown:
		return "add the missing authority's list to cluster_crl"
	case verdict.UnknownCA, verdict.BadChain:
		return "set cluster_ca_cert to the authority of cluster_cert"
	}
	return "see the cluster certificates above"
}

// Socket is one that a running node has, and others would open.
type Socket struct{ Setting, Address string }

// Sockets looks whether a running node answers at its sockets, or one that is about to start could open them.
func Sockets(ctx context.Context, area string, running bool, sockets []Socket) []finding.Finding {
	var steps []finding.Step
	for _, socket := range sockets {
		steps = append(steps, finding.Step{Name: socket.Setting, Do: func(ctx context.Context) finding.Result {
			if running {
				return socket.answers(ctx)
			}
			return socket.free(ctx)
		}})
	}
	return finding.Run(ctx, area, steps)
}

func (s Socket) answers(ctx context.Context) finding.Result {
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", reachable(s.Address))
	if err != nil {
		return finding.Bad("the running keepgate-cp does not answer at "+s.Address+": "+err.Error(),
			"restart keepgate-cp: it runs with other settings than these, or give these its settings (--conf)")
	}
	_ = conn.Close() // nothing was said
	return finding.Fine("%s answers", s.Address)
}

func (s Socket) free(ctx context.Context) finding.Result {
	socket, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.Address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return finding.Bad("another program has "+s.Address, "stop it (ss -ltnp shows which), or change "+s.Setting)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return finding.Bad("this machine has no address "+s.Address, "change "+s.Setting)
	case errors.Is(err, syscall.EACCES):
		return finding.Bad("this user may not listen at "+s.Address, "take a port above 1023, or give keepgate-cp CAP_NET_BIND_SERVICE")
	case err != nil:
		return finding.Bad(err.Error(), "mend "+s.Setting)
	}
	_ = socket.Close() // opened for nothing but this
	return finding.Fine("%s is free", s.Address)
}

// reachable is where a socket of this machine is dialled that listens at an address.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip != nil && ip.To4() == nil {
			host = "::1"
		}
	}
	return net.JoinHostPort(host, port)
}
