package upstream

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secretfile"
)

const maxKeyFile = 1 << 20

// Node is the certificate that a node shows to upstreams where neither service nor upstream entity has one (client_ssl). It
// is read from files, again whenever they change: [Pools.Run] looks.
type Node struct {
	cert, key string
	current   atomic.Pointer[Identity]

	mu     sync.Mutex
	digest [sha256.Size]byte // guarded by mu; of what the files held when they were last read
	fault  string            // guarded by mu; why that is not in use, or ""
}

// OpenNode reads the files.
func OpenNode(cert, key string) (*Node, error) {
	n := &Node{cert: cert, key: key}
	if _, err := n.reload(); err != nil {
		return nil, err
	}
	return n, nil
}

// Identity is the one in use; a nil Node has none.
func (n *Node) Identity() *Identity {
	if n == nil {
		return nil
	}
	return n.current.Load()
}

// reload reads the files. What cannot be used leaves the identity as it is.
func (n *Node) reload() (changed bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	const op = "upstream.Node"
	cert, err := os.ReadFile(n.cert)
	if err != nil {
		return false, n.refuse(fault.New(fault.Invalid, op, "client_ssl_cert", err))
	}
	key, _, err := secretfile.Read(n.key, maxKeyFile)
	if err != nil {
		return false, n.refuse(fault.New(fault.Invalid, op, "client_ssl_cert_key", err))
	}
	defer clear(key)
	digest := sha256.Sum256(bytes.Join([][]byte{cert, key}, []byte{0}))
	if n.current.Load() != nil && digest == n.digest && n.fault == "" {
		return false, nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return false, n.refuse(fault.New(fault.Invalid, op, "client_ssl_cert", fmt.Errorf("with client_ssl_cert_key it makes no pair: %w", err)))
	}
	n.digest, n.fault = digest, ""
	next := NewIdentity(&pair)
	before := n.current.Swap(next)
	return before != nil && before.key != next.key, nil
}

// refuse remembers why the files are not in use. mu is held.
func (n *Node) refuse(err error) error {
	n.fault = err.Error()
	return err
}
