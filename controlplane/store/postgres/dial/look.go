package dial

import (
	"crypto/x509"
	"net"

	"github.com/keepgate/keepgate/shared/crl"
)

// What follows lends the parts of a connection's making to whoever looks at them one by one (package examine).

// AskTLS asks a PostgreSQL server for TLS over a connection on which nothing was said. S means that it goes on with TLS, N that it has none.
func AskTLS(conn net.Conn) (answer byte, err error) {
	if _, err := conn.Write([]byte(sslRequest)); err != nil {
		return 0, err
	}
	var one [1]byte
	_, err = conn.Read(one[:])
	return one[0], err
}

// Trust reads whom the server's certificate is verified against.
func (o Options) Trust() (Trust, error) {
	return o.authorities(func(data []byte, err error) ([]byte, error) { return data, err })
}

// Revocations reads the lists of revoked certificates, and returns what asks them about a verified chain.
func (o Options) Revocations() (lists []*x509.RevocationList, check func(chain []*x509.Certificate) error, err error) {
	data, err := readFile(o.CRL)
	if err != nil {
		return nil, nil, err
	}
	m := &material{}
	if m.lists, err = crl.Parse(data); err != nil {
		return nil, nil, err
	}
	return m.lists, m.revoked, nil
}

// Check refuses what can never work, without a look at any file.
func (o Options) Check() error { return o.check() }

// Socket says that a host is the folder of a UNIX socket, where there is no TLS.
func (h Host) Socket() bool { return h.socket() }
