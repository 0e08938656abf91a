package members

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

const (
	leaseContext = "lease"
	leaseLabel   = "keepgate/members/lease/v1"
	// maxLeaseBytes is more than any node has to say, and keeps a writer of the database from making us
	// read megabytes every few seconds.
	maxLeaseBytes = 256 << 10
)

// lease is the form in which a lease is stored. The proof is over exactly the bytes of Said.
type lease struct {
	Said  json.RawMessage `json:"said"`
	Proof []byte          `json:"proof,omitempty"`
}

// said is what a node says of itself and of the lease.
type said struct {
	Say
	order
	Joining bool `json:"joining,omitempty"` // the node asks for a database of its own and looks whether it is alone
}

// order tells which of a node's leases is later.
type order struct {
	Run    int64  `json:"run"`    // when the process joined, in nanoseconds by its clock; more than that of the process before
	Number uint64 `json:"number"` // counts the leases of the process
}

func (o order) compare(other order) int {
	return cmp.Or(cmp.Compare(o.Run, other.Run), cmp.Compare(o.Number, other.Number))
}

var (
	errUnproven = errors.New("it carries no proof")
	errForm     = errors.New("it is not of the form of a lease")
	errNode     = errors.New("it is the lease of another node")
)

// seal writes and proves a lease.
func (m *Members) seal(s said) ([]byte, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encoding the lease: %w", err)
	}
	l := lease{Said: text}
	if m.prover != nil {
		if l.Proof, err = m.prover.Prove(leaseContext, m.message(s.Node, text)); err != nil {
			return nil, fmt.Errorf("proving the lease: %w", err)
		}
	}
	body, err := json.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("encoding the lease: %w", err)
	}
	return body, nil
}

// open reads a lease from the row of a node and checks its proof.
func (m *Members) open(node string, body []byte) (said, error) {
	if len(body) > maxLeaseBytes {
		return said{}, errForm
	}
	var l lease
	if err := json.Unmarshal(body, &l); err != nil {
		return said{}, errForm // whose own text could quote what stands there
	}
	if m.prover != nil {
		if len(l.Proof) == 0 {
			return said{}, errUnproven
		}
		if err := m.prover.Check(leaseContext, m.message(node, l.Said), l.Proof); err != nil {
			return said{}, fmt.Errorf("its proof does not hold: %w", err)
		}
	}
	var s said
	if err := json.Unmarshal(l.Said, &s); err != nil {
		return said{}, errForm
	}
	if s.Node != node {
		return said{}, errNode
	}
	return s, nil
}

// message is what a proof is over: label, cluster, node and text, each after its length as 8 bytes.
func (m *Members) message(node string, text []byte) []byte {
	var b []byte
	for _, part := range []string{leaseLabel, m.cluster, node, string(text)} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(part)))
		b = append(b, part...)
	}
	return b
}
