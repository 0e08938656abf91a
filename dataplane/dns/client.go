package dns

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Resolver asks name servers. It keeps nothing but what the files say; [Names] remembers answers.
type Resolver struct {
	options Options
	hosts   hosts
	conf    watched[conf]
	found   lastTypes
	turn    atomic.Uint32 // which server is asked first
	dialer  net.Dialer
}

// NewResolver makes a Resolver and reads nothing yet.
func NewResolver(options Options) *Resolver {
	for value, standard := range map[*string]string{&options.ResolvConf: "/etc/resolv.conf", &options.HostsFile: "/etc/hosts"} {
		if *value == "" {
			*value = standard
		}
	}
	if len(options.Order) == 0 {
		options.Order = []Type{Last, SRV, A, AAAA, CNAME}
	}
	if options.NotFound <= 0 {
		options.NotFound = 30 * time.Second
	}
	r := &Resolver{options: options, conf: watched[conf]{path: options.ResolvConf, parse: parseResolvConf}}
	r.hosts.file = watched[map[string][]netip.Addr]{path: options.HostsFile, parse: parseHosts}
	r.found.kinds = map[string]Type{}
	return r
}

// configuration is what resolv.conf says, with the servers of the options.
func (r *Resolver) configuration() conf {
	c := r.conf.get()
	if len(r.options.Servers) > 0 {
		c.servers = r.options.Servers
	}
	return c
}

// errServer is an answer that says nothing about the name: the next server may know more.
type errServer struct{ code dnsmessage.RCode }

func (e errServer) Error() string { return "the name server answered " + e.code.String() }

// query asks the servers, one after the other, until one of them answers. Which one comes first changes when it fails.
func (r *Resolver) query(ctx context.Context, c *conf, q question) (*reply, error) {
	first := r.turn.Load()
	if c.rotate {
		first = r.turn.Add(1)
	}
	var failures []error
	for range c.attempts {
		for i := range c.servers {
			server := c.servers[(int(first)+i)%len(c.servers)]
			answer, err := r.askServer(ctx, c, server, q)
			if err == nil {
				if next := first + uint32(i); i > 0 && !c.rotate {
					r.turn.CompareAndSwap(first, next)
				}
				return answer, nil
			}
			if ctx.Err() != nil {
				return nil, fmt.Errorf("asking for %s: %w", q.name, ctx.Err())
			}
			failures = append(failures, fmt.Errorf("%s: %w", server, err))
		}
	}
	return nil, fmt.Errorf("asking for %s: %w", q.name, errors.Join(failures...))
}

// askServer asks one server over UDP and, when its answer does not fit, over TCP.
func (r *Resolver) askServer(ctx context.Context, c *conf, server netip.AddrPort, q question) (*reply, error) {
	answer, err := r.exchange(ctx, c, "udp", server, q, false)
	var refused errServer
	if errors.As(err, &refused) && (refused.code == dnsmessage.RCodeFormatError || refused.code == dnsmessage.RCodeNotImplemented) {
		answer, err = r.exchange(ctx, c, "udp", server, q, true) // RFC 6891 §7
	}
	if errors.Is(err, errTruncated) {
		answer, err = r.exchange(ctx, c, "tcp", server, q, false)
	}
	return answer, err
}

// exchange sends one question over a socket of its own and waits for its answer.
func (r *Resolver) exchange(ctx context.Context, c *conf, network string, server netip.AddrPort, q question, plain bool) (*reply, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var random [2]byte
	_, _ = rand.Read(random[:]) // never fails: crypto/rand ends the process instead
	id := binary.BigEndian.Uint16(random[:])
	message, err := q.ask(id, plain)
	if err != nil {
		return nil, err
	}
	conn, err := r.dialer.DialContext(ctx, network, server.String()) // connected: the kernel drops what others send
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	end := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer end()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	var answer *reply
	if network == "udp" {
		answer, err = overUDP(conn, message, q, id)
	} else {
		answer, err = overTCP(conn, message, q, id)
	}
	if err != nil {
		return nil, err
	}
	if answer.code != dnsmessage.RCodeSuccess && answer.code != dnsmessage.RCodeNameError {
		return nil, errServer{answer.code}
	}
	return answer, nil
}

// overUDP waits until the answer comes, whatever else does: late answers to others, and guesses.
func overUDP(conn net.Conn, message []byte, q question, id uint16) (*reply, error) {
	if _, err := conn.Write(message); err != nil {
		return nil, err
	}
	buffer := make([]byte, 4096)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return nil, err
		}
		answer, err := q.read(buffer[:n], id)
		if !errors.Is(err, errForeign) {
			return answer, err
		}
	}
}

// overTCP reads the one answer of a connection (RFC 7766 §8).
func overTCP(conn net.Conn, message []byte, q question, id uint16) (*reply, error) {
	framed := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(message)), uint16(len(message)))
	if _, err := conn.Write(append(framed, message...)); err != nil {
		return nil, err
	}
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, err
	}
	buffer := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, buffer); err != nil {
		return nil, err
	}
	return q.read(buffer, id)
}
