package bus

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/keepgate/keepgate/controlplane/doctor/finding"
	"github.com/keepgate/keepgate/controlplane/doctor/papers"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
	"github.com/keepgate/keepgate/shared/secretfile"
)

// Examine looks at the way to NATS one step after the other: the servers of an external one, or the routes of the embedded one, which
// need not run for that.
func Examine(ctx context.Context, config Config) []finding.Finding {
	if config.Embedded != nil {
		return examineRoutes(ctx, config.Embedded)
	}
	settings := finding.Step{Name: "settings", Needs: []string{"certificate", "key", "nkey", "credentials"}, Do: func(context.Context) finding.Result {
		if _, _, err := external(config); err != nil {
			return finding.Bad(err.Error(), "mend that setting as it says")
		}
		if config.Cert == "" && config.NKeyFile == "" && config.CredentialsFile == "" {
			return finding.Beware("this node logs in to NATS with nothing", "set nats_nkey_file, nats_credentials_file or nats_cert")
		}
		return finding.Fine("complete")
	}}
	findings := finding.Run(ctx, "NATS", slices.Concat(pairOf(config), fileOf(config), []finding.Step{settings}))
	cause := ""
	for _, one := range findings {
		if one.Verdict == finding.Wrong && cause == "" {
			cause = one.Step
		}
	}
	for _, address := range config.URLs {
		there, err := url.Parse(address)
		if err != nil || there.Host == "" {
			continue // told with the settings
		}
		way := &way{config: config, address: address, host: there.Hostname(), port: there.Port(), cause: cause, wantTLS: there.Scheme == "tls" || config.CACert != "" || config.Cert != ""}
		if way.port == "" {
			way.port = "4222"
		}
		findings = append(findings, finding.Run(ctx, "NATS "+net.JoinHostPort(way.host, way.port), []finding.Step{
			{Name: "DNS", Do: way.dns},
			{Name: "TCP", Needs: []string{"DNS"}, Do: way.tcp},
			{Name: "NATS", Needs: []string{"TCP"}, Do: way.greeting},
			{Name: "TLS", Needs: []string{"NATS"}, Do: way.secure},
			{Name: "login", Needs: []string{"TLS"}, Do: way.login},
		})...)
		way.close()
	}
	return findings
}

func pairOf(config Config) []finding.Step {
	if config.Cert == "" && config.Key == "" {
		return nil
	}
	pair := &papers.Pair{
		CertSetting: "nats_cert", KeySetting: "nats_cert_key", Cert: config.Cert, Key: config.Key,
		Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, Renew: "keepgate-cp certs issue NAME --role client",
	}
	return pair.Steps()
}

// fileOf looks at the file to log in with; two of them are a matter of the settings.
func fileOf(config Config) []finding.Step {
	login, err := loginOf(config)
	switch {
	case err != nil || login == nil:
		return nil
	case login.setting == nkeySetting:
		return []finding.Step{{Name: "nkey", Do: login.examine}}
	}
	return []finding.Step{{Name: "credentials", Do: login.examine}}
}

// way is one server on the way to it.
type way struct {
	config                     Config
	address, host, port, cause string
	wantTLS                    bool
	conn                       net.Conn
	said                       greeting
}

// greeting is the part of a NATS server's first line (INFO) that matters here.
type greeting struct {
	Version      string `json:"version"`
	TLSRequired  bool   `json:"tls_required"`
	TLSAvailable bool   `json:"tls_available"`
}

func (w *way) close() {
	if w.conn != nil {
		_ = w.conn.Close() // nothing was said that anybody waits for
	}
}

func (w *way) dns(ctx context.Context) finding.Result {
	if net.ParseIP(w.host) != nil {
		return finding.Fine("%s is an address", w.host)
	}
	addresses, err := net.DefaultResolver.LookupHost(ctx, w.host)
	if err != nil {
		return finding.Bad("the name "+w.host+" is not known: "+err.Error(), "mend nats_url, or let DNS or /etc/hosts know "+w.host)
	}
	return finding.Fine("%s is %s", w.host, strings.Join(addresses, ", "))
}

func (w *way) tcp(ctx context.Context) finding.Result {
	conn, result := connect(ctx, net.JoinHostPort(w.host, w.port), "nats_url")
	w.conn = conn
	return result
}

// connect reaches an address of a setting.
func connect(ctx context.Context, address, setting string) (net.Conn, finding.Result) {
	conn, err := (&net.Dialer{Timeout: connectTimeout}).DialContext(ctx, "tcp", address)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, finding.Bad("nothing listens at "+address, "start the server there, or mend "+setting)
	case err != nil:
		return nil, finding.Bad("no connection to "+address+": "+err.Error(), "let packets through to "+address+" (firewall, network, DNS), or mend "+setting)
	}
	return conn, finding.Fine("connected to %s", conn.RemoteAddr())
}

// greet reads the first line of a NATS server, which says nothing more before it is answered.
func greet(conn net.Conn) (said greeting, err error) {
	const most = 64 << 10
	if err := conn.SetDeadline(time.Now().Add(connectTimeout)); err != nil {
		return said, err
	}
	line, err := bufio.NewReaderSize(io.LimitReader(conn, most), 16).ReadString('\n')
	if err != nil {
		return said, err
	}
	text, ok := strings.CutPrefix(line, "INFO ")
	if !ok {
		return said, errors.New("it does not greet as NATS does")
	}
	return said, json.Unmarshal([]byte(text), &said)
}

func (w *way) greeting(context.Context) finding.Result {
	said, err := greet(w.conn)
	if err != nil {
		return finding.Bad("what listens at "+w.address+" is no NATS server: "+err.Error(), "mend nats_url")
	}
	w.said = said
	return finding.Fine("version %s", said.Version)
}

func (w *way) secure(ctx context.Context) finding.Result {
	offered := w.said.TLSRequired || w.said.TLSAvailable
	switch {
	case w.wantTLS && !offered:
		return finding.Bad("the server offers no TLS, and these settings ask for it", "give the server a tls block with cert_file and key_file")
	case !w.wantTLS && !w.said.TLSRequired:
		return finding.Beware("in clear", "write tls:// in nats_url, and give the server a tls block")
	}
	config := &tls.Config{ServerName: w.host, MinVersion: tls.VersionTLS12}
	if w.config.CACert != "" {
		certs, err := papers.Certificates(w.config.CACert)
		if err != nil {
			return finding.Bad("nats_ca_cert: "+err.Error(), "put the authority of the NATS server's certificate there")
		}
		config.RootCAs = x509.NewCertPool()
		for _, cert := range certs {
			config.RootCAs.AddCert(cert)
		}
	}
	if w.config.Cert != "" && w.cause == "" {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, _, err := secretfile.KeyPair(w.config.Cert, w.config.Key)
			return &pair, err
		}
	}
	conn := tls.Client(w.conn, config)
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return w.untrusted(err)
	}
	w.conn = conn
	return finding.Fine("%s; %s", papers.Version(conn.ConnectionState()), papers.Show(conn.ConnectionState().PeerCertificates))
}

func (w *way) untrusted(err error) finding.Result {
	refusal := verdict.Explain(err)
	fact := string(refusal.Reason) + ": " + refusal.Detail
	switch refusal.Reason {
	case verdict.UnknownCA:
		return finding.Bad(fact, "set nats_ca_cert to the authority of the NATS server's certificate")
	case verdict.WrongServerName:
		return finding.Bad(fact, "write a name in nats_url that the certificate is for, or issue the server one for "+w.host)
	case verdict.Expired:
		return finding.Bad(fact, "renew the NATS server's certificate")
	case verdict.NotYetValid:
		return finding.Bad(fact, "set the clock of this machine (timedatectl)")
	case verdict.RefusedByPeer:
		return finding.Bad(fact, "set nats_cert and nats_cert_key to a certificate that the server's ca_file knows")
	}
	return finding.Bad(fact, "see the NATS server's log")
}

func (w *way) login(context.Context) finding.Result {
	if w.cause != "" {
		return finding.Because(w.cause)
	}
	options, login, err := external(w.config)
	if err != nil {
		return finding.Bad(err.Error(), "mend that setting as it says")
	}
	options = append(options, nats.Name("keepgate-cp doctor"), nats.Timeout(connectTimeout), nats.NoReconnect(),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // LastError tells; without a handler nats.go prints
	conn, err := nats.Connect(w.address, options...)
	if err != nil {
		if alert := w.alert(); alert != nil {
			return w.untrusted(alert)
		}
		return w.unwelcome(login, err)
	}
	defer conn.Close()
	// A subject of the cluster's own, so that a login which may not speak there shows it now.
	subscription, err := conn.SubscribeSync("keepgate.doctor")
	if err == nil {
		err = errors.Join(subscription.Unsubscribe(), conn.Publish("keepgate.doctor", nil), conn.FlushTimeout(connectTimeout))
	}
	if refused := conn.LastError(); refused != nil { // heard before the answer to the flush
		err = refused
	}
	if err != nil {
		return finding.Bad(err.Error(), "let this login publish and subscribe under keepgate.>")
	}
	return finding.Fine("logged in; may publish and subscribe under keepgate.>")
}

// alert is why the server ended the connection of the TLS step, where TLS 1.3 tells after the handshake what is wrong with our certificate
// (RFC 8446 §4.4.2.4); nil when it did not. Nothing was said on it: the answer to what a closed connection is sent throws the alert away.
func (w *way) alert() error {
	if _, secured := w.conn.(*tls.Conn); !secured || w.conn.SetReadDeadline(time.Now().Add(connectTimeout)) != nil {
		return nil
	}
	_, err := w.conn.Read(make([]byte, 1))
	if refusal := verdict.Explain(err); refusal == nil || refusal.Reason != verdict.RefusedByPeer {
		return nil
	}
	return err
}

func (w *way) unwelcome(login *login, err error) finding.Result {
	fact, mend := refusal(login, err)
	text := err.Error()
	switch {
	case mend != "":
	case strings.Contains(text, "certificate"), strings.Contains(text, "closed by remote after TLS handshake"):
		// With TLS 1.3 a server judges our certificate after our side of the handshake; its alert may be lost on the way.
		mend = "set nats_cert and nats_cert_key to a certificate that the server's ca_file knows"
	default:
		mend = "see the NATS server's log"
	}
	return finding.Bad("the server does not let this node in: "+fact, mend)
}
