// Package dial opens connections to PostgreSQL as the settings say: over TLS that is verified unless somebody turned that off.
//
// What proves either side (client certificate and key, authorities, revocation lists, the password) is read again for each new
// connection, so that all of it can be replaced while a node runs; connections that were made with what was before are told apart by
// their generation. TLS is negotiated here and not by pgx, which would go in clear after any failure of an optional TLS: here that
// follows only from a server's saying that it has none.
//
// Which SQL runs over a connection is its caller's affair.
package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/keepgate/keepgate/shared/secret"
)

// Host is one server: a name or an address, or a folder (beginning with "/") that holds a UNIX socket.
type Host struct {
	Name string
	Port int
}

func (h Host) String() string {
	if h.socket() {
		return h.Name
	}
	return net.JoinHostPort(h.Name, strconv.Itoa(h.Port))
}

func (h Host) socket() bool { return strings.HasPrefix(h.Name, "/") }

// Options says where to and how. UNIX sockets go without TLS, whatever is asked for.
type Options struct {
	Hosts   []Host // tried in their order, but first the one that answered last
	Target  Target
	Timeout time.Duration // to reach one of them

	Password     secret.Bytes
	PasswordFile string // read for each connection, instead of Password
	// PasswordSource, unless nil, has the newest Password that is known. An error beside it is told of and stops nothing.
	PasswordSource func() (secret.Bytes, error)

	TLS        bool
	Optional   bool     // go in clear where the server offers no TLS
	Verify     bool     // the server's certificate and name
	Trusted    []string // the authorities: absolute paths of PEM files, PEM or its base64, and the word system; none: the system's
	Depth      int      // most intermediate certificates in the server's chain
	MinVersion uint16   // of TLS; at least 1.2
	Cert, Key  string   // absolute paths of a client certificate and its key
	CRL        string   // absolute path of revocation lists

	// Resolve finds the addresses of a name; nil: the system does.
	Resolve func(ctx context.Context, name string) ([]string, error)

	// Warn is told what is not as it should be when that first shows; nil: nobody is. [Dialer.Warnings] has what holds now.
	Warn func(text string)
}

// Target says which of several servers is the right one.
type Target string

// Any is the first that answers, Primary one that is no standby, ReadWrite one that takes writes.
const (
	Any       Target = "any"
	Primary   Target = "primary"
	ReadWrite Target = "read-write"
)

// Dialer prepares connections. It is safe for concurrent use.
type Dialer struct {
	options  Options
	keys     *keys
	warnings *warnings

	mu    sync.Mutex
	first int // guarded by mu; index of the host that answered last
}

// New checks the options and reads what they name.
func New(options Options) (*Dialer, error) {
	if len(options.Hosts) == 0 {
		return nil, errors.New("no host is named")
	}
	d := &Dialer{options: options, warnings: newWarnings(options.Warn)}
	if err := options.check(); err != nil {
		return nil, err
	}
	d.keys = &keys{options: options, network: d.network(), tell: func(err error) { d.warnings.set("", kindFiles, err) }}
	if _, err := d.keys.load(); err != nil {
		return nil, err
	}
	d.standing()
	return d, nil
}

// network says whether any host is reached over a network.
func (d *Dialer) network() bool {
	for _, host := range d.options.Hosts {
		if !host.socket() {
			return true
		}
	}
	return false
}

// Prepare gives one connection's settings what they need. It is meant for pgxpool's BeforeConnect.
func (d *Dialer) Prepare(ctx context.Context, config *pgx.ConnConfig) error {
	material, err := d.keys.load()
	if material == nil {
		return err
	}
	material.password.Reveal(func(data []byte) { config.Password = string(data) })
	hosts := d.order()
	config.Host, config.Port, config.TLSConfig, config.Fallbacks = hosts[0].Name, uint16(hosts[0].Port), nil, nil
	for _, host := range hosts[1:] {
		config.Fallbacks = append(config.Fallbacks, &pgconn.FallbackConfig{Host: host.Name, Port: uint16(host.Port)})
	}
	config.ConnectTimeout = d.options.Timeout
	if len(hosts) > 1 { // whoever waits for a connection shall live to see the next host
		config.ConnectTimeout /= time.Duration(len(hosts) + 1)
	}
	attempt := &attempt{dialer: d, material: material, tlsConfig: material.tls}
	config.LookupFunc, config.DialFunc = d.lookup, attempt.dial
	config.ValidateConnect = nil
	switch d.options.Target {
	case Primary:
		config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsPrimary
	case ReadWrite:
		config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	config.AfterConnect = func(_ context.Context, conn *pgconn.PgConn) error {
		conn.CustomData()[generationKey] = generation{material.number, d.answered(attempt.host())}
		return nil
	}
	return ctx.Err()
}

const generationKey = "generation"

// generation says what a connection was made with, and to which host.
type generation struct {
	material uint64
	host     int
}

// Fresh says whether a connection was made with what counts now, and to the host that answered last. Who holds one that is not
// should end it once it is idle.
func (d *Dialer) Fresh(conn *pgconn.PgConn) bool {
	made, ok := conn.CustomData()[generationKey].(generation)
	if !ok {
		return true
	}
	d.mu.Lock()
	first := d.first
	d.mu.Unlock()
	return made.host == first && made.material == d.keys.generation()
}

// order is all hosts, the one that answered last before the others.
func (d *Dialer) order() []Host {
	d.mu.Lock()
	defer d.mu.Unlock()
	hosts := d.options.Hosts
	return append(append([]Host{}, hosts[d.first:]...), hosts[:d.first]...)
}

// answered notes the host that was the right one.
func (d *Dialer) answered(name string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, host := range d.options.Hosts {
		if host.Name == hostOf(name) && (host.socket() || strings.HasSuffix(name, ":"+strconv.Itoa(host.Port))) {
			d.first = i
		}
	}
	return d.first
}

// lookup resolves a name and keeps it beside each address, so that the one who dials knows whom to expect there.
func (d *Dialer) lookup(ctx context.Context, name string) ([]string, error) {
	resolve := d.options.Resolve
	if resolve == nil {
		resolve = net.DefaultResolver.LookupHost
	}
	if net.ParseIP(name) != nil {
		return []string{name + nameEnd + name}, nil
	}
	addresses, err := resolve(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("looking up the address: %w", err)
	}
	addresses = slices.Clone(addresses)
	for i, address := range addresses {
		addresses[i] = name + nameEnd + address
	}
	return addresses, nil
}

// nameEnd cannot be in a host name.
const nameEnd = "/"
