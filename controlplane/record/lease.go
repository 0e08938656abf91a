package record

import "time"

// Lease is one control plane node's word that it lives.
type Lease struct {
	Node string        // id of the node
	Age  time.Duration // since it was written, by the database's clock
	Body []byte        // what the node says of itself (controlplane/members)
}
