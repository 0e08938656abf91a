package keyring

import (
	"context"

	"github.com/keepgate/keepgate/controlplane/record"
)

// Forged makes a row with the proof that a prover gives.
func Forged(prover Prover, cluster string, row record.Key) record.Key {
	row.Signature, _ = prover.Prove(contextRow, rowMessage(cluster, "", row))
	return row
}

// ForgedHead makes a head with the proof that a prover gives.
func ForgedHead(prover Prover, cluster string, sequence uint64, active string, at int64) string {
	r := &Ring{prover: prover, options: Options{Cluster: cluster}, memory: proofMemory{}}
	text, err := r.proveHead(head{Sequence: sequence, Active: active, At: at})
	if err != nil {
		panic(err)
	}
	return text
}

// RowMessage and HeadMessage are what proofs cover.
func RowMessage(cluster string, row record.Key) []byte { return rowMessage(cluster, "", row) }

func HeadMessage(cluster string, sequence uint64, active string, at int64) []byte {
	return head{Sequence: sequence, Active: active, At: at}.message(cluster, "")
}

// ParseHead reads a stored head.
func ParseHead(text string) (sequence uint64, active string, at int64, err error) {
	h, err := parseHead(text)
	return h.Sequence, h.Active, h.At, err
}

// Pass does once what Run does at every poll.
func (r *Ring) Pass(ctx context.Context) error { return r.pass(ctx, false) }
