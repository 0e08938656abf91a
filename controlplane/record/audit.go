package record

// AuditEntry is one line of a node's journal. It is written once and never changed.
type AuditEntry struct {
	Node     string // id of the node that wrote it
	Sequence uint64 // counts from 1 in the node's chain, without gaps
	At       int64  // Unix milliseconds, by the node's clock
	Body     []byte // JSON text (controlplane/audit)
	Hash     []byte // chains the entry to the one before
}

// AuditQuery selects entries. With a Node: those of its chain after a sequence, in the order of the chain.
// Without: those of all nodes, the newest first, before a place in that order.
type AuditQuery struct {
	Node   string
	After  uint64
	Before *AuditPlace // nil: from the newest
	Limit  int         // at most this many; at least 1
}

// AuditPlace is an entry's place among those of all nodes, which are ordered by At, Node, Sequence.
type AuditPlace struct {
	At       int64
	Node     string
	Sequence uint64
}
