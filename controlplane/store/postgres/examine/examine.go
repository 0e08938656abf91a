// Package examine looks at the way to PostgreSQL one step after the other, as a start would go it: files, name, port, TLS, the two
// sides' certificates, role, privileges, schema.
//
// A start says that it cannot connect; this says which of the steps is in the way and what mends it. It changes nothing in the
// database.
package examine

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keepgate/keepgate/controlplane/doctor/finding"
	"github.com/keepgate/keepgate/controlplane/doctor/papers"
	"github.com/keepgate/keepgate/controlplane/store/postgres"
	"github.com/keepgate/keepgate/controlplane/store/postgres/dial"
	"github.com/keepgate/keepgate/shared/secretfile"
	"github.com/keepgate/keepgate/shared/serverchain"
)

// Server looks at every host of config and returns what was found. name is what the report calls the server.
func Server(ctx context.Context, name string, config postgres.Config) []finding.Finding {
	return look(ctx, name, config, nil)
}

func look(ctx context.Context, name string, config postgres.Config, of *postgres.Config) []finding.Finding {
	files := &files{options: config.Server}
	findings := finding.Run(ctx, name, files.steps())
	cause := ""
	for _, one := range findings {
		if one.Verdict == finding.Wrong && cause == "" {
			cause = one.Step
		}
	}
	var suited, reached int
	for _, at := range config.Server.Hosts {
		host := &host{config: config, at: at, files: files, several: len(config.Server.Hosts) > 1, cause: cause, of: of}
		findings = append(findings, finding.Run(ctx, name+" "+at.String(), host.steps())...)
		host.close(ctx)
		if host.reached {
			reached++
		}
		if host.suited {
			suited++
		}
	}
	if of != nil { // each of its servers was held to what it is for
		return findings
	}
	if len(config.Server.Hosts) > 1 && reached > 0 {
		target := finding.Fine("%d of %d servers are as pg_target_session_attrs = %s asks", suited, len(config.Server.Hosts), config.Server.Target)
		if suited == 0 {
			target = finding.Bad(target.Fact, "make one of the servers a primary (pg_promote()), or add the primary to pg_host")
		}
		findings = append(findings, finding.Finding{Area: name, Step: "target", Verdict: target.Verdict, Fact: target.Fact, Mend: target.Mend})
	}
	return findings
}

// host is one server on the way to it.
type host struct {
	config  postgres.Config
	at      dial.Host
	files   *files
	several bool             // there are others
	cause   string           // which of the files is wrong
	of      *postgres.Config // whose copy it has to be; nil: it is the database itself

	addresses       []string
	raw             net.Conn
	state           tls.ConnectionState
	client          *tls.Config // of the handshake
	asked           bool        // for our certificate
	conn            *pgx.Conn
	schema          string
	reached, suited bool
}

func (h *host) close(ctx context.Context) {
	if h.raw != nil {
		_ = h.raw.Close() // nothing was said that anybody waits for
	}
	if h.conn != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = h.conn.Close(ctx) // as above
	}
}

func (h *host) steps() []finding.Step {
	if h.at.Socket() {
		return append([]finding.Step{{Name: "files", Do: h.filesReady}}, h.inside("files")...)
	}
	steps := []finding.Step{{Name: "files", Do: h.filesReady}, {Name: "DNS", Do: h.dns}, {Name: "TCP", Needs: []string{"DNS"}, Do: h.tcp}}
	if !h.config.Server.TLS {
		return append(steps, h.inside("files", "TCP")...)
	}
	steps = append(steps,
		finding.Step{Name: "TLS offered", Needs: []string{"TCP"}, Do: h.offered},
		finding.Step{Name: "TLS", Needs: []string{"files", "TLS offered"}, Do: h.handshake},
		finding.Step{Name: "chain received", Needs: []string{"TLS"}, Do: h.chain},
		finding.Step{Name: "names", Needs: []string{"TLS"}, Do: h.names},
		finding.Step{Name: "dates", Needs: []string{"TLS"}, Do: h.dates},
		finding.Step{Name: "revocation", Needs: []string{"chain received", "dates"}, Do: h.revocation},
		finding.Step{Name: "chain sent", Needs: []string{"TLS"}, Do: h.sent},
	)
	return append(steps, h.inside("files", "TLS offered", "TLS", "chain received", "names", "dates", "revocation", "chain sent")...)
}

// filesReady makes what follows wait for files that were found wrong before.
func (h *host) filesReady(context.Context) finding.Result {
	if h.cause != "" {
		return finding.Because(h.cause)
	}
	return finding.Fine("as above")
}

func (h *host) dns(ctx context.Context) finding.Result {
	if net.ParseIP(h.at.Name) != nil {
		h.addresses = []string{h.at.Name}
		return finding.Fine("%s is an address", h.at.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, h.config.Timeout)
	defer cancel()
	resolve := h.config.Server.Resolve
	if resolve == nil {
		resolve = net.DefaultResolver.LookupHost
	}
	addresses, err := resolve(ctx, h.at.Name)
	if err != nil {
		return finding.Bad("the name "+h.at.Name+" is not known: "+err.Error(), "mend pg_host, or let DNS or /etc/hosts know "+h.at.Name)
	}
	h.addresses = addresses
	return finding.Fine("%s is %s", h.at.Name, strings.Join(addresses, ", "))
}

func (h *host) tcp(ctx context.Context) finding.Result {
	conn, err := h.connect(ctx)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return finding.Bad("nothing listens at "+h.at.String(), "start PostgreSQL there, let it listen (listen_addresses, port in postgresql.conf), or mend pg_host and pg_port")
	case err != nil:
		return finding.Bad("no connection to "+h.at.String()+": "+err.Error(), "let packets through to "+h.at.String()+" (firewall, network), or mend pg_host and pg_port")
	}
	h.raw = conn
	return finding.Fine("connected to %s", conn.RemoteAddr())
}

// connect reaches the first address that answers.
func (h *host) connect(ctx context.Context) (conn net.Conn, err error) {
	for _, address := range h.addresses {
		conn, err = (&net.Dialer{Timeout: h.config.Timeout}).DialContext(ctx, "tcp", net.JoinHostPort(address, strconv.Itoa(h.at.Port)))
		if err == nil {
			break
		}
	}
	return conn, err
}

func (h *host) offered(context.Context) finding.Result {
	if err := h.raw.SetDeadline(time.Now().Add(h.config.Timeout)); err != nil {
		return finding.Bad(err.Error(), "try again")
	}
	answer, err := dial.AskTLS(h.raw)
	switch {
	case errors.Is(err, io.EOF) || err == nil && answer != 'S' && answer != 'N':
		return finding.Bad("what listens at "+h.at.String()+" is no PostgreSQL server", "mend pg_host and pg_port")
	case err != nil:
		return finding.Bad("no answer about TLS from "+h.at.String()+": "+err.Error(), "see whether it is a PostgreSQL server that works (pg_isready), or mend pg_host and pg_port")
	case answer == 'S':
		return finding.Fine("yes")
	case h.config.Server.Optional:
		_ = h.raw.Close() // it would be used for TLS
		h.raw = nil
		return finding.Beware("the server offers no TLS: everything goes in clear", "set ssl = on, ssl_cert_file and ssl_key_file in the server's postgresql.conf")
	}
	return finding.Bad("the server offers no TLS, and pg_ssl_required asks for it", "set ssl = on, ssl_cert_file and ssl_key_file in the server's postgresql.conf")
}

// handshake takes whatever certificate the server shows; the steps after it judge.
func (h *host) handshake(ctx context.Context) finding.Result {
	if h.raw == nil {
		return finding.Fine(inClear)
	}
	config := &tls.Config{
		ServerName: h.at.Name, InsecureSkipVerify: true, MinVersion: max(h.config.Server.MinVersion, tls.VersionTLS12),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			h.asked = true
			if h.config.Server.Cert == "" {
				return &tls.Certificate{}, nil
			}
			pair, _, err := secretfile.KeyPair(h.config.Server.Cert, h.config.Server.Key)
			return &pair, err
		},
	}
	h.client = config
	conn := tls.Client(h.raw, config)
	ctx, cancel := context.WithTimeout(ctx, h.config.Timeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return told(err, "see the server's log")
	}
	h.state = conn.ConnectionState()
	return finding.Fine("%s", papers.Version(h.state))
}

// alert is why the server ends the connection after the handshake, where TLS 1.3 tells what is wrong with our certificate (RFC 8446
// §4.4.2.4); nil when it does not. Nothing is said to it: the answer to what a closed connection is sent would throw the alert away.
func (h *host) alert(ctx context.Context) error {
	if h.client == nil {
		return nil
	}
	raw, err := h.connect(ctx)
	if err != nil {
		return nil
	}
	defer func() { _ = raw.Close() }() // nothing was said
	if raw.SetDeadline(time.Now().Add(h.config.Timeout)) != nil {
		return nil
	}
	if answer, err := dial.AskTLS(raw); err != nil || answer != 'S' {
		return nil
	}
	conn := tls.Client(raw, h.client)
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	if _, err = conn.Read(make([]byte, 1)); dial.Advice(err) == "" {
		return nil
	}
	return err
}

// told is a failure of the connection, with the advice that its making has.
func told(err error, otherwise string) finding.Result {
	mend := dial.Advice(err)
	switch {
	case mend != "":
	case strings.Contains(err.Error(), "unsupported protocol version"), strings.Contains(err.Error(), "protocol version not supported"):
		mend = "set ssl_min_protocol_version and ssl_max_protocol_version in the server's postgresql.conf so that it speaks what pg_ssl_version asks for, or lower pg_ssl_version"
	default:
		mend = otherwise
	}
	return finding.Bad(strings.TrimPrefix(err.Error(), "tls: "), mend)
}

func (h *host) sent(context.Context) finding.Result {
	switch chain := h.files.pair.Chain(); {
	case len(h.state.PeerCertificates) == 0:
		return finding.Fine(inClear)
	case !h.asked && len(chain) > 0:
		return finding.Beware("none: the server asks for no certificate, so pg_ssl_cert proves nothing", "set ssl_ca_file in the server's postgresql.conf, and clientcert=verify-full or cert in its pg_hba.conf")
	case !h.asked:
		return finding.Fine("none; the server asks for none")
	case len(chain) == 0:
		return finding.Fine("none; the server would take one")
	default:
		return finding.Fine("%s", papers.Show(chain))
	}
}

// unverified makes a warning of what pg_ssl_verify = off lets pass.
func (h *host) unverified(result finding.Result) finding.Result {
	if result.Verdict == finding.Wrong && !h.config.Server.Verify {
		return finding.Beware(result.Fact+" (pg_ssl_verify = off)", result.Mend)
	}
	return result
}

func (h *host) demand() serverchain.Demand {
	return serverchain.Demand{Host: h.at.Name, Depth: h.config.Server.Depth, DepthName: "ssl_verify_depth"}
}
